package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// concatName is the global function that stands for the operator "..". No script can write it.
const concatName = "(concat)"

// maxNesting is how deep expressions and blocks may stand in each other: they are walked by recursion.
const maxNesting = 10000

// compile translates a script. The names are those of fields that its text mentions: what it writes behind a dot. Errors name file and line.
func compile(text, path string) (proto *lua.FunctionProto, names []string, err error) {
	defer func() { // the compiler's own answer to what it did not foresee; a reload must not end the process
		if r := recover(); r != nil {
			proto, names, err = nil, nil, fmt.Errorf("%s: the compiler failed: %v", path, r)
		}
	}()
	if strings.HasPrefix(text, "#") { // the line that makes a script a program
		line, rest, _ := strings.Cut(text, "\n")
		text = strings.Repeat(" ", len(line)) + "\n" + rest
	}
	chunk, err := parse.Parse(strings.NewReader(text), path)
	var bad *parse.Error
	switch {
	case errors.As(err, &bad) && bad.Pos.Line == parse.EOF:
		return nil, nil, fmt.Errorf("%s:%d: %s: the script ends too early", path, strings.Count(text, "\n")+1, plain(bad.Message))
	case errors.As(err, &bad):
		return nil, nil, fmt.Errorf("%s:%d: %s near %q", path, bad.Pos.Line, plain(bad.Message), bad.Token)
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	w := &rewriter{names: map[string]bool{}}
	w.block(chunk)
	if w.tooDeep > 0 {
		return nil, nil, fmt.Errorf("%s:%d: expressions or blocks are nested more than %d deep", path, w.tooDeep, maxNesting)
	}
	proto, err = lua.Compile(chunk, path)
	var wrong *lua.CompileError
	switch {
	case errors.As(err, &wrong):
		return nil, nil, fmt.Errorf("%s:%d: %s", path, wrong.Line, plain(wrong.Message))
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	for name := range w.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return proto, names, nil
}

// plain is a message without the blanks that some end with.
func plain(message string) string { return strings.TrimSpace(message) }

// rewriter walks a script's syntax tree. It replaces the operator ".." by a call of a function that bounds the length of what comes out: a
// loop of thirty such operators would otherwise make a string of a gigabyte.
type rewriter struct {
	names   map[string]bool
	depth   int
	tooDeep int // the line; 0: nowhere
}

// enter reports whether to go on with what stands at a line.
func (w *rewriter) enter(line int) bool {
	w.depth++
	if w.depth > maxNesting && w.tooDeep == 0 {
		w.tooDeep = max(line, 1)
	}
	return w.tooDeep == 0
}

func (w *rewriter) block(list []ast.Stmt) {
	for _, s := range list {
		if w.enter(s.Line()) {
			w.statement(s)
		}
		w.depth--
	}
}

func (w *rewriter) statement(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		w.all(s.Lhs)
		w.all(s.Rhs)
	case *ast.LocalAssignStmt:
		w.all(s.Exprs)
	case *ast.FuncCallStmt:
		w.one(&s.Expr)
	case *ast.DoBlockStmt:
		w.block(s.Stmts)
	case *ast.WhileStmt:
		w.one(&s.Condition)
		w.block(s.Stmts)
	case *ast.RepeatStmt:
		w.one(&s.Condition)
		w.block(s.Stmts)
	case *ast.IfStmt:
		w.one(&s.Condition)
		w.block(s.Then)
		w.block(s.Else)
	case *ast.NumberForStmt:
		w.one(&s.Init)
		w.one(&s.Limit)
		w.one(&s.Step)
		w.block(s.Stmts)
	case *ast.GenericForStmt:
		w.all(s.Exprs)
		w.block(s.Stmts)
	case *ast.FuncDefStmt:
		w.one(&s.Name.Func)
		w.one(&s.Name.Receiver)
		w.block(s.Func.Stmts)
	case *ast.ReturnStmt:
		w.all(s.Exprs)
	}
}

func (w *rewriter) all(list []ast.Expr) {
	for i := range list {
		w.one(&list[i])
	}
}

// one walks an expression, and may put another in its place.
func (w *rewriter) one(at *ast.Expr) {
	if *at == nil {
		return
	}
	if w.enter((*at).Line()) {
		w.expression(at)
	}
	w.depth--
}

func (w *rewriter) expression(at *ast.Expr) {
	switch e := (*at).(type) {
	case *ast.AttrGetExpr:
		if key, ok := e.Key.(*ast.StringExpr); ok {
			w.names[key.Value] = true
		}
		w.one(&e.Object)
		w.one(&e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			w.one(&f.Key)
			w.one(&f.Value)
		}
	case *ast.FuncCallExpr:
		w.one(&e.Func)
		w.one(&e.Receiver)
		w.all(e.Args)
	case *ast.LogicalOpExpr:
		w.one(&e.Lhs)
		w.one(&e.Rhs)
	case *ast.RelationalOpExpr:
		w.one(&e.Lhs)
		w.one(&e.Rhs)
	case *ast.ArithmeticOpExpr:
		w.one(&e.Lhs)
		w.one(&e.Rhs)
	case *ast.UnaryMinusOpExpr:
		w.one(&e.Expr)
	case *ast.UnaryNotOpExpr:
		w.one(&e.Expr)
	case *ast.UnaryLenOpExpr:
		w.one(&e.Expr)
	case *ast.FunctionExpr:
		w.block(e.Stmts)
	case *ast.StringConcatOpExpr:
		call := &ast.FuncCallExpr{Func: &ast.IdentExpr{Value: concatName}, AdjustRet: true} // one result, and no tail call: errors name the line
		var last ast.Expr = e
		for { // a .. (b .. c) is one call with three arguments
			c, ok := last.(*ast.StringConcatOpExpr)
			if !ok {
				break
			}
			call.Args = append(call.Args, c.Lhs)
			last = c.Rhs
		}
		call.Args = append(call.Args, last)
		// A call in the last place would pass all of its results on; in parentheses it is one.
		if inner, ok := last.(*ast.FuncCallExpr); ok {
			inner.AdjustRet = true
		}
		if dots, ok := last.(*ast.Comma3Expr); ok {
			dots.AdjustRet = true
		}
		w.all(call.Args)
		for _, made := range []ast.PositionHolder{call, call.Func} {
			made.SetLine(e.Line())
			made.SetLastLine(e.LastLine())
		}
		*at = call
	}
}
