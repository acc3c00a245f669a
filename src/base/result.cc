#include "base/result.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace ocicat {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
      return "invalid";
    case ErrorCode::kNotFound:
      return "not found";
    case ErrorCode::kAlreadyExists:
      return "already exists";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kExpired:
      return "expired";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kExhausted:
      return "exhausted";
    case ErrorCode::kPermission:
      return "not permitted";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "unknown";
}

namespace {

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENODEV:
    case ESRCH:
      return ErrorCode::kNotFound;
    case EEXIST:
      return ErrorCode::kAlreadyExists;
    case EPERM:
    case EACCES:
    case EROFS:
      return ErrorCode::kPermission;
    case ENOSPC:
    case ENOMEM:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:  // nftables: a set is full
      return ErrorCode::kExhausted;
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
      return ErrorCode::kUnsupported;
    case ECONNREFUSED:
    case EAGAIN:
    case EINTR:
    case ETIMEDOUT:
      return ErrorCode::kUnavailable;
    case EINVAL:
      return ErrorCode::kInvalid;
    default:
      return ErrorCode::kInternal;
  }
}

}  // namespace

std::unexpected<Error> fail_errno(std::string_view what, int error_number) {
  const bool refused = error_number == EPERM || error_number == EACCES;
  return fail(code_of(error_number), "{}: {}{}", what, std::generic_category().message(error_number),
              refused && ::geteuid() != 0 ? "; this process does not run as root" : "");
}

}  // namespace ocicat
