//! User metadata is US-ASCII and 2 KB in all: values are percent-encoded on the way in and decoded on the way out.
