-- How large is a stream, in gigabytes? The median.
select round((percentile_cont(0.5) within group (order by size_mb::numeric) / 1000)::numeric, 2) as median_gb from stream
