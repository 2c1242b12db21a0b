"""An issuer with PyJWT: writes its key set into a folder, and says tokens of each of its keys, a line each: name, token."""

import json
import sys
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

folder, issuer = sys.argv[1:]
keys = {
    "RS256": (rsa.generate_private_key(65537, 2048), RSAAlgorithm),
    "PS384": (rsa.generate_private_key(65537, 3072), RSAAlgorithm),
    "ES256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "ES512": (ec.generate_private_key(ec.SECP521R1()), ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
}


def token(algorithm, key=None, **changes):
    claims = {
        "iss": issuer,
        "aud": ["tidegate", "other"],
        "sub": "ann@example.org",
        "exp": time.time() + 600,
        "scope": "read push",
        "channels": ["room.1", "room.wide.*"],
        "roles": ["admin", "editor"],
        "jti": algorithm,
    }
    claims.update(changes)
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key or keys[algorithm][0], algorithm, headers={"kid": algorithm})


published = [{**json.loads(kind.to_jwk(key.public_key())), "kid": name, "use": "sig"} for name, (key, kind) in keys.items()]
with open(f"{folder}/jwks.json", "w") as file:
    json.dump({"keys": published}, file)
for algorithm in keys:
    print(algorithm, token(algorithm))
print("expired", token("ES256", exp=time.time() - 60))
print("early", token("ES256", nbf=time.time() + 60))
print("endless", token("ES256", exp=None))
print("foreign", token("ES256", iss="https://evil.example"))
print("elsewhere", token("ES256", aud="other"))
print("weak", token("ES256", scope="read"))
print("forged", token("ES256", key=ec.generate_private_key(ec.SECP256R1())))
# A public key taken for a shared secret.
print("confused", token("HS256", key=json.dumps(published[0]).encode() * 2))
print("unsigned", jwt.encode({"sub": "root", "exp": time.time() + 600}, None, "none"))
