"""Tensors -> tensors: tokenizer, Perceiver encoder and decoder on ragged sequences."""
