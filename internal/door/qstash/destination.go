package qstash

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// destination reads where a message goes from the raw request target: everything behind the prefix, byte for byte, as in
// section 2.3. The parameters that are meant for us, the token and configuration, are taken out of its query and returned
// with names in lower case.
func destination(requestURI, prefix string) (dest string, query url.Values, err error) {
	rest := ""
	if n := len(prefix); len(requestURI) >= n && strings.EqualFold(requestURI[:n], prefix) {
		rest = requestURI[n:]
	}
	path, rawQuery, asked := strings.Cut(rest, "?")
	theirs, query, err := splitQuery(rawQuery)
	if err != nil {
		return "", nil, err
	}
	dest, err = parseDestination(path)
	if err != nil {
		return "", nil, err
	}
	// What is left of a query that was only ours is no query; one that was empty from the beginning stays.
	if asked && isURL(dest) && (theirs != "" || len(query) == 0) {
		mark := "?"
		if strings.Contains(dest, "?") {
			mark = "&" // it was percent-encoded, with a query of its own
		}
		dest += mark + theirs
	}
	return dest, query, nil
}

// splitQuery tells the parameters of the destination, left as they are, from ours.
func splitQuery(raw string) (theirs string, ours url.Values, err error) {
	ours = url.Values{}
	var kept []string
	for part := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(key)
		if name = strings.ToLower(name); err != nil || name != "qstash_token" && !strings.HasPrefix(name, "upstash-") {
			kept = append(kept, part)
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return "", nil, &inputError{http.StatusBadRequest, fmt.Sprintf("query parameter %s: %v", name, err)}
		}
		ours.Add(name, value)
	}
	return strings.Join(kept, "&"), ours, nil
}

// parseDestination reads a destination that stands alone: a URL, kept as it is, or the name of a URL group (section 5.2).
// A URL may be percent-encoded once, and may have lost one of its slashes to a proxy that cleans paths.
func parseDestination(s string) (string, error) {
	dest := restoreSlash(s)
	if !hasWebScheme(dest) {
		decoded, err := url.PathUnescape(dest)
		if err != nil {
			return "", refuseDestination(s, err.Error())
		}
		dest = restoreSlash(decoded)
	}
	switch {
	case strings.TrimSpace(dest) == "":
		return "", &inputError{http.StatusBadRequest, "a non-empty destination must be provided: a URL or the name of a URL group"}
	case hasWebScheme(dest):
		if err := checkURL(dest); err != nil {
			return "", refuseDestination(s, err.Error())
		}
	case strings.Contains(dest, ":"):
		return "", refuseDestination(s, "it must begin with http:// or https://, or be the name of a URL group")
	}
	return dest, nil
}

func refuseDestination(s, why string) error {
	return &inputError{http.StatusBadRequest, fmt.Sprintf("destination %q: %s", s, why)}
}

// isURL says whether a destination, which has been read already, is a URL and not the name of a group.
func isURL(dest string) bool { return hasWebScheme(dest) }

func hasWebScheme(s string) bool { return hasPrefixFold(s, "http://") || hasPrefixFold(s, "https://") }

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// restoreSlash gives https:/x its second slash.
func restoreSlash(s string) string {
	scheme, rest, ok := strings.Cut(s, ":/")
	if ok && rest != "" && rest[0] != '/' && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
		return scheme + "://" + rest
	}
	return s
}

// checkURL says why a URL cannot be called.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Errorf("it is no URL: %w", err)
	case u.Hostname() == "":
		return errors.New("it has no host")
	}
	return nil
}
