"""What a decoding process does: containers, sound tracks and animated pictures, read with FFmpeg and Pillow.

``process.py`` imports the others when they are needed, so that the process starts quickly.
"""
