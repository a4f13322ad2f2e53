"""Known answers of `seed_of`, which Python, JavaScript and the HTTP service must all give.

They come from another program: `printf %s NAME | sha256sum | cut -c 1-16`, without the highest bit.
"""

KNOWN_NAMES = {
    "alice": 3159282601090220207,
    "Alice": 4306866634279896461,
    "alice.png": 9197209921315493596,  # the hash begins with a 1 bit, which the seed leaves out
    "Ada Lovelace": 8535449487673758096,
    " ": 3938934374763561727,
    "..": 6828011081595845693,
    "a/../b": 1157047661985594928,
    "100%": 3667207273816318903,
    "a+b?c=d&e#f": 4221670139916576871,
    "Zo\u00eb M\u00fcller": 6261540215792851870,  # each accent is part of its letter (NFC)
    "Zoe\u0308 Mu\u0308ller": 6261540215792851870,  # each accent is a character of its own (NFD)
    "\u540d\u524d": 9133971374561021167,
    "\U0001f98a": 765456806421804872,
    "\U0001f469\u200d\U0001f4bb": 4788017256080549103,
    "\0": 7940984811893783192,
}
LONG_NAME = "x" * 10_000
LONG_NAME_SEED = 7272917488741337554
