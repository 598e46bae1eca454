package inngest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/gowebpki/jcs"
	"github.com/quartetjobs/quartet/internal/auth"
)

// signature is the value of X-Inngest-Signature for a request body: section 4.4. The MAC covers the canonical form of the
// JSON, so that the body itself may keep every digit that was sent to us.
func signature(key auth.Secret, body []byte, now time.Time) (string, error) {
	canonical := body
	if len(body) > 0 {
		var err error
		if canonical, err = jcs.Transform(body); err != nil {
			return "", fmt.Errorf("sign: %w", err)
		}
	}
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(auth.TrimKeyPrefix(key.Reveal())))
	mac.Write(canonical)
	mac.Write([]byte(t))
	return "t=" + t + "&s=" + hex.EncodeToString(mac.Sum(nil)), nil
}
