package bench
import ("testing";"os")
const attackPPS, thresholdPPS = 1,1
func TestSmoke(t *testing.T){ if err:=XDP(t.Context(), XDPOptions{}, os.Stdout);err!=nil{t.Fatal(err)} }
