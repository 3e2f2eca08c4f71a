package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Plain logs in with user and password as they are (RFC 4616): only over TLS is that safe.
func Plain(user, password string) sasl.Mechanism {
	return plain.Auth{User: user, Pass: password}.AsMechanism()
}

// ScramSHA256 logs in without sending the password (RFC 7677).
func ScramSHA256(user, password string) sasl.Mechanism {
	return scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
}

// ScramSHA512 is the same with the longer hash.
func ScramSHA512(user, password string) sasl.Mechanism {
	return scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
}

// BearerToken logs in with a token that somebody else keeps fresh (RFC 7628).
func BearerToken(token string) sasl.Mechanism { return oauth.Auth{Token: token}.AsMechanism() }

// A ClientGrant is how a token is asked for: OAuth 2.0, client credentials (RFC 6749, 4.4).
type ClientGrant struct {
	TokenURL, ClientID, ClientSecret string
	Scopes                           []string
}

// tokenLimit is how long an authorization server may take.
const tokenLimit = 10 * time.Second

// BearerGrant logs in with tokens of an authorization server, each until it is about to expire.
func BearerGrant(g ClientGrant) sasl.Mechanism {
	c := clientcredentials.Config{TokenURL: g.TokenURL, ClientID: g.ClientID, ClientSecret: g.ClientSecret, Scopes: g.Scopes}
	one := make(chan *oauth2.Token, 1) // one asks, the others wait and use what it got
	one <- nil
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		limited, cancel := context.WithTimeout(ctx, tokenLimit)
		defer cancel()
		var t *oauth2.Token
		select {
		case t = <-one:
		case <-limited.Done():
			return oauth.Auth{}, fmt.Errorf("ask %s for a token: %w", g.TokenURL, limited.Err())
		}
		defer func() { one <- t }()
		if !t.Valid() {
			fresh, err := c.Token(limited)
			if err != nil {
				return oauth.Auth{}, fmt.Errorf("ask %s for a token: %w", g.TokenURL, err)
			}
			t = fresh
		}
		return oauth.Auth{Token: t.AccessToken}, nil
	})
}
