-- How long is a stream on average, in whole seconds?
select avg(extract(epoch from (end_at - start_at)))::int as "average seconds" from stream
