"""The mirror as it is made: tables, triggers and views in SQL, and how a file comes to have them."""
