"""The transformers that come with ahtransport, one module or package each."""
