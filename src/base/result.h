// The one way to say that something could not be done.
//
// A function that can fail returns Result<T>; the caller must look at it. Broken invariants are not errors:
// they CHECK and abort.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <expected>
#include <string>
#include <utility>

namespace ocicat {

// What a caller may branch on. The message is for people.
enum class ErrorCode {
  kInvalid,        // the input breaks a rule
  kNotFound,       // the thing named does not exist
  kAlreadyExists,  // the thing to create is there
  kConflict,       // the thing changed since it was read
  kExpired,        // that revision is no longer kept: list again
  kUnavailable,    // the other side is away; trying again may help
  kExhausted,      // a limit, the disk or memory is full
  kPermission,     // not allowed
  kUnsupported,    // this kernel or build cannot do it
  kInternal,       // a failure that is ours
};

std::string_view to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;

  bool operator==(const Error&) const = default;
};

template <class T>
using Result = std::expected<T, Error>;

template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format,
                                          Args&&... args) {
  return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

// The same error, with where it happened in front.
[[nodiscard]] inline std::unexpected<Error> within(std::string_view where, Error error) {
  error.message = fmt::format("{}: {}", where, error.message);
  return std::unexpected(std::move(error));
}

// fail() for a system call that has just set errno.
[[nodiscard]] std::unexpected<Error> fail_errno(std::string_view what, int error_number);

// A broken invariant: says where, and aborts. Stays on in production.
#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

// Leaves the enclosing function with the error, or goes on with the value:
//   TRY(auto value, compute());
#define OCICAT_CONCAT_INNER(a, b) a##b
#define OCICAT_CONCAT(a, b) OCICAT_CONCAT_INNER(a, b)
#define TRY(declaration, expression) \
  OCICAT_TRY_IMPL(OCICAT_CONCAT(try_result_, __LINE__), declaration, expression)
#define OCICAT_TRY_IMPL(name, declaration, expression)        \
  auto name = (expression);                                   \
  if (!name) return std::unexpected(std::move(name).error()); \
  declaration = *std::move(name)
#define TRY_VOID(expression)                                                          \
  do {                                                                                \
    auto try_void_result = (expression);                                              \
    if (!try_void_result) return std::unexpected(std::move(try_void_result).error()); \
  } while (false)

}  // namespace ocicat
