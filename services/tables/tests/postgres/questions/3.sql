-- How many movies after books of Singaporean authors were streamed in December?
with authors as (
    select lower(name) as name from author where nationality = 'singaporeans'
),
books as (
    select lower(title) as title from book join authors on lower(book.author) = authors.name
),
adaptations as (
    select distinct lower(movie.title) as movie
    from review
    join books on lower(review.book_title) = books.title
    join movie on lower(movie.title) = lower(review.movie_title)
),
streamed as (
    select distinct lower(movie_title) as movie
    from stream
    where start_at between '2021-12-01T00:00:00.000+0100'::timestamp and '2021-12-31T23:59:59.000+0100'::timestamp
       or end_at between '2021-12-01T00:00:00.000+0100'::timestamp and '2021-12-31T23:59:59.000+0100'::timestamp
)
select count(1) as movies from adaptations join streamed using (movie)
