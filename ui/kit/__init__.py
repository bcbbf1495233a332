"""Parts that every page is made of; depends on nothing of ours."""
