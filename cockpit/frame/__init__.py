"""How a page is framed: what its address says and carries, what it is about, how it speaks, the way through the pages."""
