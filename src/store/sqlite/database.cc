#include "store/sqlite/database.h"

#include <sqlite3.h>

namespace ocicat::store {
namespace {

constexpr int kBusyMilliseconds = 5'000;  // somebody else, such as a person with sqlite3, holds the lock

Error error_of(sqlite3* database, int code) {
  const char* text = database ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return {ErrorCode::kExhausted, fmt::format("the disk is full: {}", text)};
    case SQLITE_NOMEM:
      return {ErrorCode::kExhausted, fmt::format("out of memory: {}", text)};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {ErrorCode::kPermission, fmt::format("the database cannot be written: {}", text)};
    case SQLITE_CANTOPEN:
      return {ErrorCode::kPermission, fmt::format("the database cannot be opened: {}", text)};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorCode::kUnavailable, fmt::format("another process holds the database: {}", text)};
    case SQLITE_IOERR:
      return {ErrorCode::kUnavailable, fmt::format("reading or writing failed: {}", text)};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {ErrorCode::kInternal, fmt::format("the database is damaged: {}; {}", text, kIfDamaged)};
    default:
      return {ErrorCode::kInternal, fmt::format("SQLite: {}", text)};
  }
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}
void Database::Close::operator()(sqlite3* database) const {
  sqlite3_close_v2(database);
}

Statement& Statement::start() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  bound_ = 0;
  bind_error_ = SQLITE_OK;
  return *this;
}

Statement& Statement::bind(std::int64_t value) {
  if (const int code = sqlite3_bind_int64(statement_.get(), ++bound_, value); code != SQLITE_OK)
    bind_error_ = code;
  return *this;
}

Statement& Statement::bind(std::optional<std::string_view> text) {
  ++bound_;
  const int code = text ? sqlite3_bind_text64(statement_.get(), bound_, text->data() ? text->data() : "",
                                              text->size(), SQLITE_STATIC, SQLITE_UTF8)
                        : sqlite3_bind_null(statement_.get(), bound_);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

Result<bool> Statement::step() {
  auto* database = sqlite3_db_handle(statement_.get());
  if (bind_error_ != SQLITE_OK) return std::unexpected(error_of(nullptr, bind_error_));
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement_.get());
    return false;
  }
  auto error = error_of(database, code);
  sqlite3_reset(statement_.get());
  return std::unexpected(std::move(error));
}

Result<void> Statement::run() {
  TRY(const bool row, step());
  if (row) sqlite3_reset(statement_.get());
  return {};
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string Statement::text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return bytes ? std::string(bytes, size) : std::string();
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

Result<Database> Database::open(const std::string& path) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database;
  database.database_.reset(raw);
  database.path_ = path;
  if (code != SQLITE_OK) return within(path, error_of(raw, code));
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  return database;
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (code != SQLITE_OK) return std::unexpected(error_of(database_.get(), code));
  Statement statement;
  statement.statement_.reset(raw);
  return statement;
}

Result<void> Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return std::unexpected(error_of(database_.get(), code));
  return {};
}

Result<std::string> Database::query_text(std::string_view sql) {
  TRY(auto statement, prepare(sql));
  TRY(const bool row, statement.step());
  return row ? statement.text(0) : std::string();
}

}  // namespace ocicat::store
