-- What share of the streamed movies is based on books?
with adapted as (
    select distinct lower(review.movie_title) as title
    from review join movie on lower(review.movie_title) = lower(movie.title)
),
streamed as (
    select distinct movie.title from stream join movie on stream.movie_title = movie.title
)
select round(count(adapted.title)::numeric / count(*)::numeric, 2) as share_based_on_books
from streamed left join adapted on adapted.title = lower(streamed.title)
