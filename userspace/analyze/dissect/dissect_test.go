package dissect

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/analyze/dissect/dissecttest"
)

func title(p dissecttest.Payload) string { return p.Name + " " + p.Detail + " " + p.Role }

func wanted(p dissecttest.Payload) Found {
	roles := map[string]Role{"": Unknown, "request": Request, "reply": Reply}
	return Found{p.Name, p.Detail, roles[p.Role], p.Usual, p.Amplifies}
}

func TestPayload(t *testing.T) {
	found := map[string]bool{}
	for _, tt := range dissecttest.Payloads() {
		t.Run(title(tt), func(t *testing.T) {
			got, ok := Payload(tt.Transport, tt.Source, tt.Destination, tt.Bytes)
			if diff := cmp.Diff(wanted(tt), got); !ok || diff != "" {
				t.Errorf("found %t (-want +got)\n%s", ok, diff)
			}
			found[got.Name] = true
		})
	}
	for _, name := range Names() {
		if !found[name] {
			t.Errorf("no test makes a payload of %s", name)
		}
	}
}

// What is proved by its bytes is found on other ports as well, and then says that they are not the usual ones.
func TestPayloadAnywhere(t *testing.T) {
	on := map[string]bool{}
	for _, d := range table {
		on[d.name] = on[d.name] || d.anywhere
	}
	seen := map[string]bool{}
	for _, tt := range dissecttest.Payloads() {
		if got, ok := Payload(tt.Transport, 61000, 62000, tt.Bytes); ok && got.Name == tt.Name {
			seen[got.Name] = true
			if got.Usual || got.Detail != tt.Detail {
				t.Errorf("%s: %+v", title(tt), got)
			}
		}
	}
	for name, want := range on {
		if want != seen[name] {
			t.Errorf("%s is found on other ports: %t, want %t", name, seen[name], want)
		}
	}
}

// A port proves nothing: bytes of another kind are not taken for its protocol.
func TestPortAloneIsNotEnough(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, d := range table {
		for _, port := range d.ports {
			for name, payload := range map[string][]byte{"zeros": make([]byte, 200), "ones": bytes.Repeat([]byte{0xff}, 200), "letters": bytes.Repeat([]byte("A"), 200)} {
				if got, ok := Payload(d.transport, port, 40000, payload); ok && (got.Usual || got.Name != "quake" && got.Name != "source") && got.Name != "coap" {
					t.Errorf("%s from port %d are taken for %s", name, port, got.Name)
				}
			}
			wrong := 0
			for range 200 {
				if got, ok := Payload(d.transport, port, 40000, noise(random, 200)); ok && got.Name == d.name {
					wrong++
				}
			}
			if limit := 30; wrong > limit {
				t.Errorf("of 200 random payloads from port %d, %d are taken for %s, want at most %d", port, wrong, d.name, limit)
			}
		}
	}
}

func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// Random payloads on ports of nobody are not taken for anything, but for one in a hundred.
func TestNoise(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	wrong := map[string]int{}
	const n = 20000
	sum := 0
	for range n {
		if got, ok := Payload(udp, 50000, 50001, noise(random, 200)); ok {
			wrong[got.Name]++
			sum++
		}
	}
	if sum > n/100 {
		t.Errorf("of %d random payloads %v are taken for something", n, wrong)
	}
}

// A payload of which the end is missing says the same or nothing, and is read without looking behind its end.
func TestCut(t *testing.T) {
	for _, tt := range dissecttest.Payloads() {
		for n := range tt.Bytes {
			got, ok := Payload(tt.Transport, tt.Source, tt.Destination, slices.Clip(bytes.Clone(tt.Bytes[:n])))
			if ok && got.Name == "" || !ok && got != (Found{}) {
				t.Fatalf("%s cut to %d bytes: %t, %+v", title(tt), n, ok, got)
			}
		}
		if n := min(len(tt.Bytes), 128); n == 128 {
			if got, ok := Payload(tt.Transport, tt.Source, tt.Destination, tt.Bytes[:n]); !ok || got.Name != tt.Name {
				t.Errorf("%s cut to %d bytes is %q, want %q", title(tt), n, got.Name, tt.Name)
			}
		}
	}
}

// A hostile server name comes out printable and short.
func TestDetailIsTame(t *testing.T) {
	got, ok := Payload(tcp, 40000, 443, dissecttest.ClientHello("a\x1b[2J\n"+string(bytes.Repeat([]byte("x"), 200))))
	if want := "client hello a.[2J." + string(bytes.Repeat([]byte("x"), maxDetail-len("client hello a.[2J."))); !ok || got.Detail != want {
		t.Errorf("detail %q, want %q", got.Detail, want)
	}
}

func FuzzPayload(f *testing.F) {
	for _, tt := range dissecttest.Payloads() {
		f.Add(tt.Transport, tt.Source, tt.Destination, tt.Bytes)
	}
	names := Names()
	f.Fuzz(func(t *testing.T, transport uint8, source, destination uint16, payload []byte) {
		got, ok := Payload(transport, source, destination, payload)
		if again, okAgain := Payload(transport, source, destination, payload); again != got || okAgain != ok {
			t.Fatalf("a second look differs: %+v, %+v", got, again)
		}
		if !ok {
			if got != (Found{}) {
				t.Fatalf("nothing is known, and %+v is", got)
			}
			return
		}
		if !slices.Contains(names, got.Name) || len(got.Detail) > maxDetail || got.Role > Reply {
			t.Fatalf("found %+v", got)
		}
		for _, c := range []byte(got.Detail) {
			if c < ' ' || c > '~' {
				t.Fatalf("detail %q is not printable", got.Detail)
			}
		}
		if transport != tcp && transport != udp {
			t.Fatalf("found %+v in protocol %d", got, transport)
		}
	})
}

func BenchmarkPayload(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	payloads := [][]byte{noise(random, 200)}
	for _, m := range dissecttest.Payloads() {
		payloads = append(payloads, m.Bytes)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		Payload(udp, 50000, 443, payloads[i%len(payloads)])
	}
}
