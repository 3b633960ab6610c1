"""The soak: thousands of numbered conversations with one server for as long as told; see README.md here."""
