package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// often is how often old rows are seen to.
const often = time.Hour

// keep sees to it that rows of tables go when they are old: by a TTL, or where the server has none by dropping the days that have passed.
func (s *Sink) keep(ctx context.Context, tables ...*table) error {
	if s.options.NoCreate {
		return nil
	}
	now := s.now()
	var errs []error
	for _, t := range tables {
		if t.days <= 0 || now.Sub(t.kept) < often {
			continue
		}
		t.kept = now // also when it fails: rows are more urgent than that
		drop := s.drop
		if s.modern {
			drop = s.expire
		}
		if err := drop(ctx, t, now); err != nil {
			errs = append(errs, s.failed(t, fmt.Errorf("drop rows older than %d days: %w", t.days, err)))
		}
	}
	return errors.Join(errs...)
}

// expire sets the table's TTL unless it is what it should be: the table may be older than the options.
func (s *Sink) expire(ctx context.Context, t *table, _ time.Time) error {
	rows, err := s.ask(ctx, fmt.Sprintf("SELECT engine_full FROM system.tables WHERE database = '%s' AND name = '%s'", s.options.Database, t.name))
	if err != nil || strings.Contains(strings.Join(rows, " "), t.ttl()) {
		return err
	}
	return s.do(ctx, fmt.Sprintf("ALTER TABLE `%s`.%s MODIFY %s", s.options.Database, t.name, t.ttl()))
}

// drop drops each day whose last second is too old.
func (s *Sink) drop(ctx context.Context, t *table, now time.Time) error {
	days, err := s.ask(ctx, fmt.Sprintf("SELECT DISTINCT partition_id FROM system.parts WHERE active AND database = '%s' AND table = '%s'", s.options.Database, t.name))
	if err != nil {
		return err
	}
	first := now.UTC().AddDate(0, 0, -t.days)
	for _, id := range days {
		day, err := time.Parse("20060102", id)
		if err != nil { // not a day: the table was not created by Weir
			return fmt.Errorf("understand partition %q: %w; have the table partitioned by days, or set the number of days to -1", id, err)
		}
		if !day.AddDate(0, 0, 1).Before(first) {
			continue
		}
		if err := s.do(ctx, fmt.Sprintf("ALTER TABLE `%s`.%s DROP PARTITION ID '%s'", s.options.Database, t.name, id)); err != nil {
			return err
		}
	}
	return nil
}
