package bgp_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/bgp"
	"weir/userspace/traffic"
)

// The child is nobody, may listen on low ports and nothing else, and cannot become more.
func TestPrivileges(t *testing.T) {
	s := newScene(t)
	sp := s.speak(bgp.Config{})
	sp.Apply(nil)
	eventually(t, "the speaker runs and is confined", func() bool {
		st := sp.State()
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", st.PID))
		return err == nil && st.Up && strings.Contains(string(limits), "Max data size             2147483648")
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", sp.State().PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "Groups:\t \n", "NoNewPrivs:\t1\n",
		"CapInh:\t0000000000000400\n", "CapPrm:\t0000000000000400\n", "CapEff:\t0000000000000400\n", "CapAmb:\t0000000000000400\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("%q is missing in\n%s", want, status)
		}
	}
	// The daemon's own threads have kept theirs.
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err == nil && strings.Contains(string(status), "NoNewPrivs:\t1\n") {
			t.Errorf("thread %s has lost privileges", task.Name())
		}
	}
}

// A child that hangs is ended and started again; what was wanted meanwhile is announced by the next one.
func TestHanging(t *testing.T) {
	s := newScene(t)
	b := startBIRD(t, s.router(1), birdPeer("weir", 1, 65001, false, ""))
	sp := s.speak(bgp.Config{Peers: []bgp.Peer{{Name: "a", Address: v4(1), AS: 65001, Multihop: 2}}})
	sp.Apply(nil)
	sp.waitEstablished("a")
	pid := sp.State().PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	sp.Apply([]traffic.Announcement{blackhole("203.0.113.7/32")}) // returns at once
	eventually(t, "another speaker runs", func() bool { st := sp.State(); return st.Up && st.PID != pid })
	eventually(t, "BIRD has the route", func() bool { return strings.Contains(b.show("route"), "203.0.113.7/32") })
	if !strings.Contains(sp.log.String(), "the speaker has not reported for 5s") {
		t.Error("the log does not say why")
	}
}

// What the child makes of its parent's end, and of what is no parent.
func TestChild(t *testing.T) {
	frame := func(text string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	}
	for _, tt := range []struct {
		name string
		send []byte
		want string
	}{
		{"gone at once", nil, ""},
		{"gone in the middle", frame(`{"config":{}}`)[:6], "read message: unexpected EOF"},
		{"gone later", frame(`{"config":{"RouterID":"192.0.2.1","AS":65000}}`), ""},
		{"no configuration", frame(`{"stop":{}}`), "read configuration: the first message has none"},
		{"no JSON", frame(`{`), "decode message: unexpected end of JSON input"},
		{"too long", []byte{0xff, 0, 0, 0}, "read message: 4278190080 bytes are more than 67108864"},
		{"a peer that is not there", append(frame(`{"config":{"RouterID":"192.0.2.1","AS":65000}}`), frame(`{"batch":{"operations":[{"s":1,"w":"x"}]}}`)...),
			"read batch: operation 1 makes no sense"},
		{"stop", append(frame(`{"config":{"RouterID":"192.0.2.1","AS":65000}}`), frame(`{"stop":{"withdraw":true}}`)...), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
			cmd := exec.Command(os.Args[0], "bgp-speaker")
			cmd.ExtraFiles = []*os.File{theirs}
			var out output
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if err := theirs.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := ours.Write(tt.send); err != nil {
				t.Fatal(err)
			}
			// The end of what is sent, and not yet of what is read: a child that reports is not interrupted.
			if err := unix.Shutdown(fds[0], unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			if closeErr := ours.Close(); closeErr != nil {
				t.Error(closeErr)
			}
			if (err != nil) != (tt.want != "") || !strings.Contains(out.String(), tt.want) {
				t.Errorf("got %v, %q; want %q", err, out.String(), tt.want)
			}
		})
	}
}
