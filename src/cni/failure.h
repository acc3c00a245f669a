// What a plugin says when it cannot do what it was called for.
//
//   source   containernetworking/cni, SPEC.md 1.1.0, "Error"
#pragma once

#include <fmt/format.h>

#include <expected>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ocicat::cni {

// Up to 99 the specification's own; from 100 on ours (docs/reference/cni.md tells each).
enum class FailureCode : unsigned {
  kIncompatibleVersion = 1,
  kUnsupportedField = 2,
  kUnknownContainer = 3,
  kInvalidEnvironment = 4,
  kIo = 5,
  kUndecodable = 6,
  kInvalidConfiguration = 7,
  kTryAgainLater = 11,
  kNotAvailable = 50,  // STATUS: ADD cannot be served
  kNoAddress = 100,
  kAddressTaken = 101,
  kKernel = 102,
  kNotEnforced = 103,
  kNotAsAdded = 104,  // CHECK
  kInternal = 105,
  kAddressPlugin = 106,  // another plugin, which is to give the addresses, fails
};

struct Failure {
  FailureCode code = FailureCode::kInternal;
  std::string message;  // what could not be done, in a few words
  std::string details;  // why, and the next command to run

  bool operator==(const Failure&) const = default;
};

// The file that configures the network, by the command that finds it.
inline constexpr std::string_view kNetworkFile = "the file that this names: grep -rl ocicat /etc/cni/net.d";

// TRY and TRY_VOID take it as they take a Result.
template <class T>
using Outcome = std::expected<T, Failure>;

[[nodiscard]] inline std::unexpected<Failure> refuse(FailureCode code, std::string message,
                                                     std::string details) {
  return std::unexpected(Failure{code, std::move(message), std::move(details)});
}

// The object that goes to standard output; `version` as the caller gave it, or the newest where it gave none.
std::string to_json(const Failure& failure, std::string_view version);

}  // namespace ocicat::cni
