"""Many pictures: `folder` segments them one after another, and goes on where one is bad."""
