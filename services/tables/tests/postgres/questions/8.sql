-- Ratings of adapted books by publisher, and how far they are from the mean of all.
select publisher, count(*) filter (where rating >= 4) as good, avg(rating) as mean,
       round(avg(rating) - (select avg(rating) from review), 3) as above, sum(pages) as pages,
       string_agg(distinct author, '; ' order by author) as authors, min(birth_date) as oldest,
       count(died_at) as died
from review
join book on lower(book.title) = lower(review.book_title)
left join author on lower(author.name) = lower(book.author)
group by publisher
order by publisher
