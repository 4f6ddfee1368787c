package pcapfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/capture/pcapfile"
	"weir/userspace/packet"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// at is a time with as many digits as microseconds or nanoseconds have.
func at(unit time.Duration) time.Time { return noon.Add(123456789 * time.Nanosecond).Truncate(unit) }

// readAll returns all frames with data of their own, and the error that ended them; nil for the end of the file.
func readAll(t *testing.T, r *pcapfile.Reader) ([]traffic.Frame, error) {
	t.Helper()
	var all []traffic.Frame
	for {
		var f traffic.Frame
		err := r.Next(&f)
		if err != nil {
			if again := r.Next(&f); again != err {
				t.Errorf("Next after its end: got %v, want %v again", again, err)
			}
			if r.Frames() != uint64(len(all)) {
				t.Errorf("Frames: got %d, want %d", r.Frames(), len(all))
			}
			if err == io.EOF {
				err = nil
			}
			return all, err
		}
		f.Data = bytes.Clone(f.Data)
		all = append(all, f)
	}
}

func readBytes(t *testing.T, file []byte) ([]traffic.Frame, error) {
	t.Helper()
	r, err := pcapfile.New(bytes.NewReader(file), "x.pcap")
	if err != nil {
		return nil, err
	}
	return readAll(t, r)
}

func TestFormats(t *testing.T) {
	tcp, udp := TCP4().Bytes(), UDP6().Bytes()
	frames := func(unit time.Duration) []captured {
		return []captured{{time: at(unit), data: tcp}, {time: at(unit).Add(time.Second), data: udp[:60], length: 1514}}
	}
	want := func(unit time.Duration) []traffic.Frame {
		return []traffic.Frame{
			{Time: at(unit).UnixNano(), Length: uint32(len(tcp)), Data: tcp},
			{Time: at(unit).Add(time.Second).UnixNano(), Length: 1514, Data: udp[:60]},
		}
	}
	pcapng := func(order binary.AppendByteOrder, digits byte, unit time.Duration) []byte {
		n := (&ng{order: order}).section().iface(1, digits)
		for _, f := range frames(unit) {
			n.packet(f, unit)
		}
		return n.b
	}
	for _, tt := range []struct {
		name string
		file []byte
		unit time.Duration
	}{
		{"pcap, little endian, microseconds", pcap(binary.LittleEndian, time.Microsecond, 1, frames(time.Microsecond)...), time.Microsecond},
		{"pcap, little endian, nanoseconds", pcap(binary.LittleEndian, time.Nanosecond, 1, frames(time.Nanosecond)...), time.Nanosecond},
		{"pcap, big endian, microseconds", pcap(binary.BigEndian, time.Microsecond, 1, frames(time.Microsecond)...), time.Microsecond},
		{"pcap, big endian, nanoseconds", pcap(binary.BigEndian, time.Nanosecond, 1, frames(time.Nanosecond)...), time.Nanosecond},
		{"pcapng, little endian, microseconds", pcapng(binary.LittleEndian, 6, time.Microsecond), time.Microsecond},
		{"pcapng, big endian, nanoseconds", pcapng(binary.BigEndian, 9, time.Nanosecond), time.Nanosecond},
		{"pcap, compressed", zipped(t, pcap(binary.LittleEndian, time.Microsecond, 1, frames(time.Microsecond)...)), time.Microsecond},
		{"pcapng, compressed", zipped(t, pcapng(binary.LittleEndian, 6, time.Microsecond)), time.Microsecond},
		{"pcap, zstd", zstdOf(t, pcap(binary.BigEndian, time.Nanosecond, 1, frames(time.Nanosecond)...)), time.Nanosecond},
		{"pcapng, zstd", zstdOf(t, pcapng(binary.LittleEndian, 6, time.Microsecond)), time.Microsecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readBytes(t, tt.file)
			if diff := cmp.Diff(want(tt.unit), got); err != nil || diff != "" {
				t.Errorf("error %v, frames (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestPcapngSections(t *testing.T) {
	tcp := TCP4()
	n := (&ng{order: binary.LittleEndian}).section().iface(1, 6).iface(101, 9)
	n.block(0x0bad, []byte("a block of an unknown kind"))
	n.packet(captured{time: at(time.Nanosecond), data: tcp.Network(), iface: 1}, time.Nanosecond)
	n.packet(captured{time: noon, data: tcp.Bytes()}, time.Microsecond)
	n.simple(tcp.Bytes())
	n.order = binary.BigEndian
	n.section().iface(101, 6).packet(captured{time: noon, data: tcp.Network()}, time.Microsecond)
	ip := uint32(len(tcp.Network()))
	want := []traffic.Frame{
		{Time: at(time.Nanosecond).UnixNano(), Length: ip, Data: tcp.Network(), Link: traffic.LinkIP},
		{Time: noon.UnixNano(), Length: ip + 14, Data: tcp.Bytes()},
		{Time: noon.UnixNano(), Length: ip + 14, Data: tcp.Bytes()},
		{Time: noon.UnixNano(), Length: ip, Data: tcp.Network(), Link: traffic.LinkIP},
	}
	got, err := readBytes(t, n.b)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, frames (-want +got)\n%s", err, diff)
	}
}

// TestLinkTypes reads the same packet through each, up to the parser.
func TestLinkTypes(t *testing.T) {
	tcp4, tcp6 := TCP4(), TCP6()
	vlan := TCP4(VLAN(TypeVLAN, 9)).Bytes()
	prefix := func(front, b []byte) []byte { return append(bytes.Clone(front), b...) }
	cooked := func(ethertype ...byte) []byte {
		return prefix([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, ethertype)
	}
	cooked2 := func(ethertype ...byte) []byte {
		return prefix(ethertype, []byte{0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0})
	}
	ppp := func(front ...byte) []byte { return prefix(front, tcp4.Network()) }
	for _, tt := range []struct {
		name   string
		link   uint32
		data   []byte
		want   traffic.Reason
		of     Frame
		length int // without what is no packet
	}{
		{"ethernet", 1, tcp4.Bytes(), traffic.ReasonOK, tcp4, len(tcp4.Bytes())},
		{"ethernet with check sequence", 1 | 1<<26 | 2<<28, append(tcp4.Bytes(), 1, 2, 3, 4), traffic.ReasonOK, tcp4, len(tcp4.Bytes())},
		{"raw", 101, tcp4.Network(), traffic.ReasonOK, tcp4, len(tcp4.Network())},
		{"raw ipv6", 101, tcp6.Network(), traffic.ReasonOK, tcp6, len(tcp6.Network())},
		{"raw, as BSD/OS numbers it", 12, tcp4.Network(), traffic.ReasonOK, tcp4, len(tcp4.Network())},
		{"raw, as OpenBSD numbers it", 14, tcp4.Network(), traffic.ReasonOK, tcp4, len(tcp4.Network())},
		{"raw ipv4 only", 228, tcp4.Network(), traffic.ReasonOK, tcp4, len(tcp4.Network())},
		{"raw ipv6 only", 229, tcp6.Network(), traffic.ReasonOK, tcp6, len(tcp6.Network())},
		{"raw nothing", 101, nil, traffic.ReasonNotIP, Frame{}, 0},
		{"cooked ipv4", 113, prefix(cooked(8, 0), tcp4.Network()), traffic.ReasonOK, tcp4, len(tcp4.Bytes())},
		{"cooked ipv6", 113, prefix(cooked(0x86, 0xdd), tcp6.Network()), traffic.ReasonOK, tcp6, len(tcp6.Bytes())},
		{"cooked with a tag", 113, prefix(cooked(0x81, 0), vlan[14:]), traffic.ReasonOK, tcp4, len(vlan)},
		{"cooked arp", 113, cooked(8, 6), traffic.ReasonARP, Frame{}, 14},
		{"cooked 802.2", 113, prefix(cooked(0, 4), tcp4.Network()), traffic.ReasonNotIP, Frame{}, len(tcp4.Bytes())},
		{"cooked, 15 bytes", 113, cooked(8), traffic.ReasonShortEthernet, Frame{}, 13},
		{"cooked, 1 byte", 113, cooked()[:1], traffic.ReasonShortEthernet, Frame{}, 0},
		{"cooked v2 ipv4", 276, prefix(cooked2(8, 0), tcp4.Network()), traffic.ReasonOK, tcp4, len(tcp4.Bytes())},
		{"cooked v2 ipv6", 276, prefix(cooked2(0x86, 0xdd), tcp6.Network()), traffic.ReasonOK, tcp6, len(tcp6.Bytes())},
		{"cooked v2 arp", 276, cooked2(8, 6), traffic.ReasonARP, Frame{}, 14},
		{"cooked v2, 19 bytes", 276, cooked2(8, 0)[:19], traffic.ReasonShortEthernet, Frame{}, 13},
		{"null ipv4, little endian", 0, prefix([]byte{2, 0, 0, 0}, tcp4.Network()), traffic.ReasonOK, tcp4, len(tcp4.Network())},
		{"null ipv4, big endian", 0, prefix([]byte{0, 0, 0, 2}, tcp4.Network()), traffic.ReasonOK, tcp4, len(tcp4.Network())},
		{"null ipv6 of macOS", 0, prefix([]byte{30, 0, 0, 0}, tcp6.Network()), traffic.ReasonOK, tcp6, len(tcp6.Network())},
		{"null appletalk", 0, prefix([]byte{16, 0, 0, 0}, tcp6.Network()), traffic.ReasonNotIP, Frame{}, len(tcp6.Network())},
		{"null, 3 bytes", 0, []byte{2, 0, 0}, traffic.ReasonNotIP, Frame{}, 0},
		{"ppp", 9, ppp(0xff, 3, 0, 0x21), traffic.ReasonOK, tcp4, len(tcp4.Network()) + 4},
		{"ppp without address and control", 9, ppp(0, 0x21), traffic.ReasonOK, tcp4, len(tcp4.Network()) + 2},
		{"ppp of ipv6", 9, prefix([]byte{0xff, 3, 0, 0x57}, tcp6.Network()), traffic.ReasonOK, tcp6, len(tcp6.Network()) + 4},
		{"ppp of its own", 9, ppp(0xff, 3, 0xc0, 0x21), traffic.ReasonNotIP, Frame{}, len(tcp4.Network()) + 4},
		{"ppp with check sequence", 9 | 1<<26 | 1<<28, append(ppp(0xff, 3, 0, 0x21), 1, 2), traffic.ReasonOK, tcp4, len(tcp4.Network()) + 4},
		{"ppp, nothing", 9, nil, traffic.ReasonShortTunnel, Frame{}, 0},
		{"ppp on a serial line", 50, ppp(0xff, 3, 0, 0x21), traffic.ReasonOK, tcp4, len(tcp4.Network()) + 4},
		{"cisco's hdlc on a serial line", 50, ppp(0x0f, 0, 8, 0), traffic.ReasonOK, tcp4, len(tcp4.Network())},
		{"cisco's hdlc", 104, prefix([]byte{0x8f, 0, 0x86, 0xdd}, tcp6.Network()), traffic.ReasonOK, tcp6, len(tcp6.Network())},
		{"cisco's keepalive", 104, ppp(0x8f, 0, 0x80, 0x35), traffic.ReasonNotIP, Frame{}, len(tcp4.Network())},
		{"cisco's hdlc, 3 bytes", 104, []byte{0x8f, 0, 8}, traffic.ReasonNotIP, Frame{}, 0},
		{"ppp with a direction", 204, ppp(1, 0xff, 3, 0, 0x21), traffic.ReasonOK, tcp4, len(tcp4.Network()) + 4},
		{"pppoe", 51, ppp(0x11, 0, 0, 7, 0, 42, 0, 0x21), traffic.ReasonOK, tcp4, len(tcp4.Network()) + 2},
		{"pppoe, discovery", 51, ppp(0x11, 9, 0, 0, 0, 42, 0, 0x21), traffic.ReasonShortTunnel, Frame{}, len(tcp4.Network()) + 2},
		{"loop ipv6 of OpenBSD", 108, prefix([]byte{0, 0, 0, 24}, tcp6.Network()), traffic.ReasonOK, tcp6, len(tcp6.Network())},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames, err := readBytes(t, pcap(binary.LittleEndian, time.Microsecond, tt.link, captured{time: noon, data: tt.data}))
			if err != nil || len(frames) != 1 {
				t.Fatalf("got %d frames, error %v, want one", len(frames), err)
			}
			var got traffic.Packet
			if reason := packet.ParseLink(frames[0].Link, frames[0].Data, frames[0].Length, &got); reason != tt.want {
				t.Errorf("reason: got %s, want %s", reason, tt.want)
			}
			want := traffic.Packet{}
			if tt.want == traffic.ReasonOK {
				want = tt.of.Parsed()
			}
			want.Length = uint32(tt.length)
			if got != want {
				t.Errorf("packet: got %+v, want %+v", got, want)
			}
		})
	}
}

func TestBrokenFiles(t *testing.T) {
	tcp := TCP4().Bytes()
	one := captured{time: noon, data: tcp}
	two := pcap(binary.LittleEndian, time.Microsecond, 1, one, one)
	twoNg := (&ng{order: binary.LittleEndian}).section().iface(1, 6).packet(one, time.Microsecond).packet(one, time.Microsecond).b
	second := 24 + 16 + len(tcp)
	cases := []struct {
		name   string
		file   []byte
		frames int
		want   string // the whole error; empty: none
	}{
		{"empty", nil, 0, "read capture x.pcap: the file ends within its header"},
		{"three bytes", two[:3], 0, "read capture x.pcap: the file ends within its header"},
		{"half a header", two[:23], 0, "read capture x.pcap: the file ends within its header"},
		{"half a pcapng header", twoNg[:20], 0, "read capture x.pcap: the file ends within its header"},
		{"text", []byte("no capture at all"), 0, "read capture x.pcap: it begins with 6e6f2063 and so is neither a pcap nor a pcapng file; convert it with: editcap -F pcapng IN OUT"},
		{"a header alone", two[:24], 0, ""},
		{"cut within a packet header", two[:second+15], 1, "read capture x.pcap: packet 2: the file ends within it"},
		{"cut behind a packet header", two[:second+16], 1, "read capture x.pcap: packet 2: the file ends within it"},
		{"cut within a packet", two[:len(two)-1], 1, "read capture x.pcap: packet 2: the file ends within it"},
		{"cut between packets", two[:second], 1, ""},
		{"pcapng cut within a packet", twoNg[:len(twoNg)-9], 1, "read capture x.pcap: packet 2: the file ends within it"},
		{"pcapng cut within a block header", append(bytes.Clone(twoNg), 6, 0, 0), 2, "read capture x.pcap: packet 3: the file ends within it"},
		{"wireless", pcap(binary.LittleEndian, time.Microsecond, 105, one), 0,
			"read capture x.pcap: link type 105 (802.11) is not supported; expected Ethernet, raw IP, Linux cooked, loopback or PPP"},
		{"pcapng with a wireless interface", (&ng{order: binary.LittleEndian}).section().iface(1, 6).iface(105, 6).packet(one, time.Microsecond).
			packet(captured{time: noon, data: tcp, iface: 1}, time.Microsecond).b, 1,
			"read capture x.pcap: packet 2: link type 105 (802.11) is not supported; expected Ethernet, raw IP, Linux cooked, loopback or PPP"},
		{"compressed, cut", zipped(t, two)[:60], 0, "read capture x.pcap: packet 1: the compressed file ends within it"},
		{"zstd, cut", zstdOf(t, two)[:len(zstdOf(t, two))-9], 0, "read capture x.pcap: the compressed file ends within its header"},
		{"xz", []byte("\xfd7zXZ\x00"), 0, "read capture x.pcap: it is compressed by xz, which is not supported; decompress it with: xz -d FILE"},
		{"bzip2", []byte("BZh91AY"), 0, "read capture x.pcap: it is compressed by bzip2, which is not supported; decompress it with: bzip2 -d FILE"},
		{"lz4", []byte("\x04\x22\x4d\x18"), 0, "read capture x.pcap: it is compressed by lz4, which is not supported; decompress it with: lz4 -d FILE"},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			frames, err := readBytes(t, tt.file)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("error: got %q, want %q", got, tt.want)
			}
			if len(frames) != tt.frames {
				t.Errorf("frames before it: got %d, want %d", len(frames), tt.frames)
			}
			for _, f := range frames {
				if !bytes.Equal(f.Data, tcp) {
					t.Errorf("frame before it: got %x, want %x", f.Data, tcp)
				}
			}
		})
	}
}

// TestBrokenPackets has errors whose text is the decoder's.
func TestBrokenPackets(t *testing.T) {
	one := captured{time: noon, data: TCP4().Bytes()}
	second := 24 + 16 + len(one.data)
	for _, tt := range []struct {
		name string
		at   int
		set  []byte
	}{
		{"captured more than the wire had", second + 12, []byte{1, 0, 0, 0}},
		{"a captured length of 4 GiB", second + 8, []byte{0xff, 0xff, 0xff, 0xff}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := Set(pcap(binary.LittleEndian, time.Microsecond, 1, one, one), tt.at, tt.set...)
			frames, err := readBytes(t, file)
			if err == nil || !bytes.HasPrefix([]byte(err.Error()), []byte("read capture x.pcap: packet 2: ")) {
				t.Errorf("error: got %v, want one that names packet 2", err)
			}
			if len(frames) != 1 {
				t.Errorf("frames before it: got %d, want 1", len(frames))
			}
		})
	}
}

// failing is a disk that gives up.
type failing struct{ left []byte }

var errDisk = errors.New("input/output error")

func (f *failing) Read(b []byte) (int, error) {
	n := copy(b, f.left)
	f.left = f.left[n:]
	if n == 0 {
		return 0, errDisk
	}
	return n, nil
}

func TestReadError(t *testing.T) {
	one := captured{time: noon, data: TCP4().Bytes()}
	for name, file := range map[string][]byte{
		"pcap":   pcap(binary.LittleEndian, time.Microsecond, 1, one),
		"pcapng": (&ng{order: binary.LittleEndian}).section().iface(1, 6).packet(one, time.Microsecond).b,
		"gzip":   zipped(t, pcap(binary.LittleEndian, time.Microsecond, 1, one))[:70],
	} {
		t.Run(name, func(t *testing.T) {
			r, err := pcapfile.New(&failing{left: file}, "x.pcap")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := readAll(t, r); !errors.Is(err, errDisk) {
				t.Errorf("error: got %v, want %v", err, errDisk)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "one.pcap")
	file := pcap(binary.LittleEndian, time.Microsecond, 1, captured{time: noon, data: TCP4().Bytes()})
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if frames, err := readAll(t, r); err != nil || len(frames) != 1 {
		t.Errorf("got %d frames, error %v, want one", len(frames), err)
	}
	if done, size := r.Progress(); done != int64(len(file)) || size != int64(len(file)) {
		t.Errorf("Progress: got %d of %d, want %d of the same", done, size, len(file))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pcapfile.Open(path + ".gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: got %v, want %v", err, fs.ErrNotExist)
	}
}

// FuzzReader: whatever the file, reading ends, with an error or without, and no frame is longer than the file.
func FuzzReader(f *testing.F) {
	one := captured{time: noon, data: TCP4().Bytes()}
	f.Add(pcap(binary.LittleEndian, time.Microsecond, 1, one, one))
	f.Add(pcap(binary.BigEndian, time.Nanosecond, 113, one))
	f.Add(pcap(binary.BigEndian, time.Nanosecond, 51, one))
	f.Add(zstdOf(f, pcap(binary.BigEndian, time.Nanosecond, 1, one)))
	f.Add(zipped(f, pcap(binary.BigEndian, time.Nanosecond, 50, one)))
	f.Add(pcap(binary.LittleEndian, time.Microsecond, 276, one))
	f.Add((&ng{order: binary.LittleEndian}).section().iface(1, 6).iface(0, 9).packet(one, time.Microsecond).simple(one.data).b)
	f.Add((&ng{order: binary.BigEndian}).section().iface(101, 9).packet(one, time.Nanosecond).b)
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := pcapfile.New(bytes.NewReader(file), "fuzz")
		if err != nil {
			return
		}
		compressed := len(file) > 1 && (file[0] == 0x1f && file[1] == 0x8b || file[1] == 0xb5 || file[1] == 0x2a)
		for {
			var frame traffic.Frame
			if err := r.Next(&frame); err != nil {
				return
			}
			if len(frame.Data) > len(file) && !compressed {
				t.Fatalf("a frame of %d bytes in a file of %d", len(frame.Data), len(file))
			}
		}
	})
}
