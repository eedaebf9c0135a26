-- By language and day of December: streams, users, and the longest stream with its rank.
with lengths as (
    select original_language as language, date_trunc('day', start_at) as day, user_email,
           extract(epoch from end_at - start_at)::bigint as seconds
    from stream join movie on stream.movie_title = movie.title
)
select language, day, count(*) as streams, count(distinct user_email) as users, max(seconds) as longest,
       rank() over (partition by language order by max(seconds) desc) as place
from lengths
group by language, day
having count(*) > 2
order by language, place, day
