// A chain of hops that keep an answer back as those of OpenFaaS do: each passes chunks on at once where the request's
// Accept meets its rule, and leaves them to the buffers of Go's own net/http where it does not.
//
// It is a stand-in, not the watchdog, provider or gateway themselves: they are built on the same net/http, and of them it
// has only the rule and the two ways to copy.
//
//	hop [-wrapped] UPSTREAM_URL RULE...
//
// The first rule is the hop next to the upstream. Rules: contains (of-watchdog, faas-netes), exact (the provider of
// faasd), prefix (the gateway). Each listens on a free port of 127.0.0.1, printed one a line in the order of the rules.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
)

const eventStream = "text/event-stream"

// What each program asks of Accept before it flushes every chunk.
var rules = map[string]func(accept string) bool{
	"contains": func(accept string) bool {
		lower := strings.ToLower(accept)
		return strings.Contains(lower, eventStream) || strings.Contains(lower, "application/x-ndjson")
	},
	"exact":  func(accept string) bool { return accept == eventStream },
	"prefix": func(accept string) bool { return strings.HasPrefix(accept, eventStream) },
}

var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// A writer without ReadFrom, as one is that somebody has wrapped to count: io.Copy then never flushes, where the bare one
// flushes once, after the first 512 bytes.
type wrapped struct{ http.ResponseWriter }

type hop struct {
	upstream *url.URL
	flushes  func(accept string) bool
	wraps    bool
	client   *http.Client
	flowing  *httputil.ReverseProxy
}

func (h *hop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.flushes(r.Header.Get("Accept")) {
		h.flowing.ServeHTTP(w, r)
		return
	}
	target := *h.upstream
	target.Path, target.RawPath, target.RawQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery
	out, err := http.NewRequestWithContext(r.Context(), r.Method, target.String(), r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	out.Header = r.Header.Clone()
	for _, name := range hopByHop {
		out.Header.Del(name)
	}
	answer, err := h.client.Do(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	header := w.Header()
	for name, values := range answer.Header {
		header[name] = values
	}
	for _, name := range hopByHop {
		header.Del(name)
	}
	w.WriteHeader(answer.StatusCode)
	if h.wraps {
		w = wrapped{w}
	}
	io.Copy(w, answer.Body)
}

func main() {
	wraps := flag.Bool("wrapped", false, "copy into a writer that hides ReadFrom")
	flag.Parse()
	if flag.NArg() < 2 {
		log.Fatal("usage: hop [-wrapped] UPSTREAM_URL contains|exact|prefix...")
	}
	upstream, err := url.Parse(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range flag.Args()[1:] {
		rule, isKnown := rules[name]
		if !isKnown {
			log.Fatalf("%s is none of contains, exact, prefix", name)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		// Redirects go back to the caller.
		client := &http.Client{
			Transport:     &http.Transport{},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		flowing := httputil.NewSingleHostReverseProxy(upstream)
		flowing.FlushInterval = -1
		server := &http.Server{Handler: &hop{upstream, rule, *wraps, client, flowing}}
		go server.Serve(listener)
		port := listener.Addr().(*net.TCPAddr).Port
		fmt.Println(port)
		upstream = &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	}
	// Whoever started it holds its standard input: it ends with that.
	io.Copy(io.Discard, os.Stdin)
}
