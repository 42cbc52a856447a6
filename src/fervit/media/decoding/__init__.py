"""What Pillow leaves open of an image: which value is white, and the numbers of Netpbm files."""
