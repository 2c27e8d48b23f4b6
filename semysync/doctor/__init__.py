"""What `semysync doctor` finds: `gather` looks, `checks` judges what was seen, without any I/O."""
