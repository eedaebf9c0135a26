//! Templates: minijinja, with what is interpolated escaped for the place it goes to.
