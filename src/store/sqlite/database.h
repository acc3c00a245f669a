// A thin, safe hold on SQLite: connections and prepared statements that close themselves, errors as Error.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace ocicat::store {

// Said with every error about what a database holds.
inline constexpr std::string_view kIfDamaged =
    "bring back a copy of the file, or save what can be read: sqlite3 FILE .recover";

// A prepared statement: bind(), then step() until it says false. Reset by the next bind_from_start().
class Statement {
 public:
  Statement() = default;

  // Rewinds and forgets what was bound.
  Statement& start();
  Statement& bind(std::int64_t value);
  // The text must stay until the last step(). Nothing is NULL.
  Statement& bind(std::optional<std::string_view> text);

  // True: there is a row. False: done.
  Result<bool> step();
  // For statements without rows.
  Result<void> run();

  std::int64_t integer(int column) const;
  std::string text(int column) const;
  bool is_null(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
  int bind_error_ = 0;
};

// One connection, for one thread at a time.
class Database {
 public:
  // Makes the file where it is not there. ":memory:" keeps all in memory.
  static Result<Database> open(const std::string& path);

  Result<Statement> prepare(std::string_view sql);
  Result<void> execute(const std::string& sql);          // one or more statements, rows ignored
  Result<std::string> query_text(std::string_view sql);  // the first column of the first row; "" without rows
  const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  std::unique_ptr<sqlite3, Close> database_;
  std::string path_;
};

}  // namespace ocicat::store
