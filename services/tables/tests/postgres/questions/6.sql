-- How many users saw at least half of a movie in the last week of December?
with watched as (
    select
        stream.user_email,
        extract(epoch from (stream.end_at - stream.start_at)) / 60 >= movie.duration_mins * 0.5 as is_half
    from stream join movie on lower(stream.movie_title) = lower(movie.title)
    where start_at between '2021-12-24T00:00:00.000+0100'::timestamp and '2021-12-31T23:59:59.000+0100'::timestamp
       or end_at between '2021-12-24T00:00:00.000+0100'::timestamp and '2021-12-31T23:59:59.000+0100'::timestamp
)
select count(distinct user_email) as users from watched where is_half
