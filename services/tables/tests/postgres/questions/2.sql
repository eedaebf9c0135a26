-- How many users streamed "Unforgiven" at some time of Christmas morning, 7 to 12?
with morning as (
    select user_email, lower(movie_title) as title
    from stream
    where start_at between '2021-12-25T07:00:00.000+0100'::timestamp and '2021-12-25T12:00:00.000+0100'::timestamp
       or end_at between '2021-12-25T07:00:00.000+0100'::timestamp and '2021-12-25T12:00:00.000+0100'::timestamp
)
select count(distinct user_email) as users from morning where title = 'unforgiven'
