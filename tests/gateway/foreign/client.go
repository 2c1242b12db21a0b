// A client with Go's own TLS: two connections to a gateway, the second with the ticket of the first.
//
//	client.go PORT CERTIFICATE HOST VERSION    prints a line for each connection: version, resumed or full, answers
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	patience = 20 * time.Second
	requests = 3
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	port, file, host, version := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	pem, err := os.ReadFile(file)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	number := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[version]
	config := &tls.Config{
		RootCAs:            roots,
		ServerName:         host,
		MinVersion:         number,
		MaxVersion:         number,
		NextProtos:         []string{"h2", "http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	for connection := 0; connection < 2; connection++ {
		socket, err := tls.Dial("tcp", "127.0.0.1:"+port, config)
		check(err)
		check(socket.SetDeadline(time.Now().Add(patience)))
		answers := []string{}
		reader := bufio.NewReader(socket)
		for request := 0; request < requests; request++ {
			_, err = io.WriteString(socket, "GET /nowhere HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
			check(err)
			answer, err := http.ReadResponse(reader, nil)
			check(err)
			_, err = io.Copy(io.Discard, answer.Body)
			check(err)
			answers = append(answers, fmt.Sprint(answer.StatusCode))
		}
		kind := "full"
		if socket.ConnectionState().DidResume {
			kind = "resumed"
		}
		fmt.Println(version, kind, strings.Join(answers, " "))
		// close_notify, and what the gateway says to that.
		check(socket.CloseWrite())
		rest, err := io.ReadAll(reader)
		check(err)
		if len(rest) > 0 {
			check(fmt.Errorf("%q after the last answer", rest))
		}
	}
}
