"""What is run on every backend: `catalogue` lists the cases, `inputs` makes the arrays, the others are the cases by kind."""
