package daemon

import (
	"fmt"
	"strconv"
	"strings"

	"weir/userspace/config"
	"weir/userspace/decide"
	"weir/userspace/mitigate"
	"weir/userspace/traffic"
)

// openHooks reads the operator's program for decisions; nil: there is none.
func (d *daemon) openHooks(cfg *config.Config) (*decide.Script, error) {
	h := cfg.Hooks
	if h.Script == "" {
		return nil, nil
	}
	return decide.New(decide.Options{Path: h.Script, Timeout: h.Timeout}, d.opts.Log)
}

// CheckHooks reports what is wrong with the operator's program for decisions.
func CheckHooks(cfg *config.Config) error {
	d := &daemon{engine: &engine{opts: Options{Log: quiet()}}}
	_, err := d.openHooks(cfg)
	return err
}

// hooksOf has the manager ask a script.
func hooksOf(s *decide.Script) mitigate.Hooks {
	if s == nil {
		return mitigate.Hooks{}
	}
	return mitigate.Hooks{
		Threshold: func(e *traffic.Event) (bool, string) {
			v := s.Threshold(e)
			return v.Veto, v.Why
		},
		Attack: func(a *traffic.Attack) (bool, string) {
			v := s.Attack(a)
			return v.Veto, v.Why
		},
		Mitigate: func(r *traffic.Record) mitigate.Amendment {
			c := s.Mitigate(r)
			out := mitigate.Amendment{Veto: c.Veto, Why: c.Why, Drop: c.Drop, Notify: c.Notify, Rung: c.Rung, BanTime: c.BanTime}
			for _, text := range c.Communities {
				if value, err := community(text); err == nil { // the script's answer was checked
					out.Communities = append(out.Communities, value)
				}
			}
			return out
		},
	}
}

// community reads AS:VALUE (RFC 1997).
func community(text string) (uint32, error) {
	as, value, _ := strings.Cut(text, ":")
	high, err := strconv.ParseUint(as, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("read community %s: %w", text, err)
	}
	low, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("read community %s: %w", text, err)
	}
	return uint32(high<<16 | low), nil
}
