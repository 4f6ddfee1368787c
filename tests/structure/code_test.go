package structure

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// code is one of our packages as this system compiles it, with its types.
type code struct {
	*listed
	fset  *token.FileSet
	files []*ast.File
	info  *types.Info
}

// load type-checks all of our packages against the compiler's own export data.
func load(t *testing.T) []*code {
	t.Helper()
	packages := list(t, []string{"CGO_ENABLED=0"}, "-e", "-export", "-deps", "./...")
	exports := map[string]string{}
	for _, p := range packages {
		exports[p.ImportPath] = p.Export
	}
	fset := token.NewFileSet()
	lookup := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var all []*code
	for _, p := range packages {
		if !p.ours() {
			continue
		}
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
			continue
		}
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		c, err := check(p, fset, files, lookup)
		if err != nil {
			t.Errorf("type-check %s: %v", p.ImportPath, err)
			continue
		}
		all = append(all, c)
	}
	return all
}

func check(p *listed, fset *token.FileSet, files []*ast.File, i types.Importer) (*code, error) {
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	_, err := (&types.Config{Importer: i}).Check(p.ImportPath, fset, files, info)
	return &code{p, fset, files, info}, err
}

// faults returns init functions, package variables that change, and, in the pure core, uses of the clock.
func (c *code) faults(pure bool) []string {
	var found []string
	report := func(at ast.Node, format string, args ...any) {
		p := c.fset.Position(at.Pos())
		found = append(found, fmt.Sprintf("%s/%s:%d: %s", c.ImportPath, filepath.Base(p.Filename), p.Line, fmt.Sprintf(format, args...)))
	}
	for _, f := range c.files {
		if ast.IsGenerated(f) {
			continue
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					report(d, "func init: what it does belongs into a constructor")
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					v, isVar := s.(*ast.ValueSpec)
					if !isVar || d.Tok != token.VAR {
						continue
					}
					for _, name := range v.Names {
						if name.IsExported() && !types.Implements(c.info.Defs[name].Type(), errorInterface()) {
							report(name, "exported variable %s: any package may change it; make it a function or unexported", name.Name)
						}
					}
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			for _, e := range changed(n, c.info) {
				if v := c.packageVar(e); v != nil {
					report(n, "package variable %s changes: state belongs into a type", v.Name())
				}
			}
			if s, isSelector := n.(*ast.SelectorExpr); pure && isSelector {
				if o, isFunc := c.info.Uses[s.Sel].(*types.Func); isFunc && o.Pkg() != nil && o.Pkg().Path() == "time" && clock(o.Name()) && o.Signature().Recv() == nil {
					report(s, "time.%s: the core takes its time as an argument", o.Name())
				}
			}
			return true
		})
	}
	return found
}

func errorInterface() *types.Interface {
	return types.Universe.Lookup("error").Type().Underlying().(*types.Interface)
}

func clock(name string) bool {
	return strings.Contains(" Now Since Until Sleep After AfterFunc Tick NewTicker NewTimer ", " "+name+" ")
}

// changed returns the expressions that a node writes to, or whose address it takes.
func changed(n ast.Node, info *types.Info) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.CallExpr:
		if f, isIdent := n.Fun.(*ast.Ident); isIdent && len(n.Args) > 0 {
			if b, isBuiltin := info.Uses[f].(*types.Builtin); isBuiltin && strings.Contains(" delete clear copy ", " "+b.Name()+" ") {
				return n.Args[:1]
			}
		}
		// A method with a pointer receiver takes the address of the variable that it is called on.
		if s, isSelector := n.Fun.(*ast.SelectorExpr); isSelector {
			if m := info.Selections[s]; m != nil && m.Kind() == types.MethodVal {
				_, operandIsPointer := m.Recv().Underlying().(*types.Pointer)
				_, receiverIsPointer := m.Obj().(*types.Func).Signature().Recv().Type().(*types.Pointer)
				if receiverIsPointer && !operandIsPointer {
					return []ast.Expr{s.X}
				}
			}
		}
	}
	return nil
}

// packageVar returns the variable of this package that an expression is, or is a part of.
func (c *code) packageVar(e ast.Expr) *types.Var {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.Ident:
			v, isVar := c.info.Uses[x].(*types.Var)
			if isVar && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
				return v
			}
			return nil
		default:
			return nil
		}
	}
}

func TestCode(t *testing.T) {
	for _, c := range load(t) {
		pure := false
		for _, r := range table() {
			pure = pure || r.pure && anyWithin(strings.TrimPrefix(c.ImportPath, "weir/"), r.packages)
		}
		for _, f := range c.faults(pure) {
			t.Error(f)
		}
	}
}

// The test finds what it is for, and accepts what only looks like it.
func TestCodeRefused(t *testing.T) {
	for _, tt := range []struct{ name, source, want string }{
		{"init", `func init() {}`, "func init"},
		{"counter", `var n int; func f() { n++ }`, "package variable n changes"},
		{"element", `var m = map[int]int{}; func f() { m[1] = 2 }`, "package variable m changes"},
		{"field", `var s struct{ x int }; func f() { s.x = 1 }`, "package variable s changes"},
		{"deleted", `var m = map[int]int{}; func f() { delete(m, 1) }`, "package variable m changes"},
		{"address", `var n int; func f() *int { return &n }`, "package variable n changes"},
		{"method", `type t struct{ n int }; func (x *t) add() { x.n++ }; var v t; func f() { v.add() }`, "package variable v changes"},
		{"exported", `var Limit = 3`, "exported variable Limit"},
		{"table", `var names = []string{"a"}; func f() string { return names[0] }`, ""},
		{"sentinel", `type e struct{}; func (e) Error() string { return "" }; var ErrGone error = e{}`, ""},
		{"local", `var n int; func f() { n := 1; n++; _ = n }`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "x.go", "package x; "+tt.source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			c, err := check(&listed{ImportPath: "x"}, fset, []*ast.File{file}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(c.faults(true), "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
