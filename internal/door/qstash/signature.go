package qstash

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signatureLife is how long a receiver takes a signature for good: section 8.1.
const signatureLife = 5 * time.Minute

// sign is the value of Upstash-Signature for one attempt: section 8.1. The URL and the body are what is really sent. The
// key is used as the text that it is.
//
// The token is good from 1970 on, because receivers allow their clock to be no second behind ours.
func sign(key, url string, body []byte, now time.Time, jti string) (string, error) {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss":  "Upstash",
		"sub":  url,
		"exp":  now.Add(signatureLife).Unix(),
		"nbf":  0,
		"iat":  now.Unix(),
		"jti":  jti,
		"body": bodyClaim(body),
	}).SignedString([]byte(key))
	if err != nil {
		return "", fmt.Errorf("sign a delivery to %s: %w", url, err)
	}
	return signed, nil
}

func bodyClaim(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.URLEncoding.EncodeToString(sum[:])
}
