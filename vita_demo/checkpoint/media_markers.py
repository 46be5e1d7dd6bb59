"""The ids that stand in a prompt where features are spliced in, as upstream numbers them."""

IMAGE_TOKEN_ID = -200
AUDIO_TOKEN_ID = -500
