package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// postgresServer is a PostgreSQL of its own.
//
//  1. startPostgres finds the programs, makes a cluster and starts it, as an
//     ordinary user where we are root, because PostgreSQL refuses to be root.
//  2. createDatabase makes an empty database, dropDatabase removes it.
type postgresServer struct {
	*server
	port  string
	count int // databases made so far
}

func startPostgres(ctx context.Context, dir string) (*postgresServer, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	as, err := ordinaryUser(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"),
		"-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if said, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, said)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), append([]string{
		"-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
	}, postgresSettings...)...)
	cmd.Dir, cmd.SysProcAttr = dir, as
	s, err := startServer(cmd, filepath.Join(dir, "postgres.log"))
	if err != nil {
		return nil, err
	}
	p := &postgresServer{server: s, port: port}
	if err := s.ready(ctx, func(ctx context.Context) error { return p.exec(ctx, "SELECT 1") }); err != nil {
		_ = s.stop()
		return nil, err
	}
	return p, nil
}

// postgresSettings are PostgreSQL's defaults (so fsync and synchronous_commit
// are on) but for what every guide to tuning changes first: more memory, and
// room in the log so that no checkpoint is forced during a measurement.
var postgresSettings = []string{
	"-c", "shared_buffers=512MB",
	"-c", "max_wal_size=4GB",
	"-c", "checkpoint_timeout=15min",
	"-c", "max_connections=200",
}

// postgresPrograms is the directory of initdb and postgres. Debian keeps them
// out of PATH, one directory for each version.
func postgresPrograms() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	version := func(dir string) float64 {
		v, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(dir)), 64)
		return v
	}
	slices.SortFunc(dirs, func(a, b string) int { return int(10 * (version(b) - version(a))) })
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), dirs...) {
		if isProgram(filepath.Join(dir, "initdb")) && isProgram(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL is not installed; on Debian: apt-get install postgresql")
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func (p *postgresServer) createDatabase(ctx context.Context) (string, error) {
	p.count++
	name := fmt.Sprintf("bench%d", p.count)
	return name, p.exec(ctx, "CREATE DATABASE "+name)
}

func (p *postgresServer) dropDatabase(ctx context.Context, name string) error {
	return p.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
}

func (p *postgresServer) url(database string) string {
	return "postgres://postgres@" + net.JoinHostPort("127.0.0.1", p.port) + "/" + database + "?sslmode=disable"
}

func (p *postgresServer) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, p.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}
