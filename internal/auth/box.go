package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
)

// Box keeps texts secret at rest: AES-256 in GCM mode, with a key that is not in the store. Make it with NewBox; its methods may be called by many at once.
type Box struct{ aead cipher.AEAD }

// ErrSealed is what Open returns for what it cannot open: it was sealed with another key, for another place, or was changed.
var ErrSealed = errors.New("it was encrypted with another encryption key")

// NewBox makes a box from a text of any length.
func NewBox(key Secret) *Box {
	sum := sha256.Sum256([]byte("quartet box\x00" + key.Reveal()))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		panic("BUG: auth: a key of 32 bytes is refused: " + err.Error())
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("BUG: auth: " + err.Error())
	}
	return &Box{aead}
}

// Seal encrypts a text. place is what it is for: a sealed text that is moved elsewhere does not open there.
func (b *Box) Seal(text, place string) []byte {
	return b.aead.Seal(nil, nil, []byte(text), []byte(place))
}

// Open decrypts what Seal gave.
func (b *Box) Open(sealed []byte, place string) (string, error) {
	text, err := b.aead.Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return "", ErrSealed
	}
	return string(text), nil
}

// NewSecret makes a random key.
func NewSecret() Secret { return Secret(rand.Text() + rand.Text()) }
