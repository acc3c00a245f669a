#include "cni/service/context.h"

#include "base/digest.h"

namespace ocicat::cni {
namespace {

FailureCode code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kConflict:
    case ErrorCode::kExpired:
      return FailureCode::kTryAgainLater;
    case ErrorCode::kInvalid:
      return FailureCode::kInvalidConfiguration;
    case ErrorCode::kNotFound:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kExhausted:
    case ErrorCode::kPermission:
    case ErrorCode::kUnsupported:
    case ErrorCode::kInternal:
      break;
  }
  return FailureCode::kInternal;
}

}  // namespace

Failure failure_of(const Error& error, std::string message) {
  const auto code = code_of(error.code);
  const auto* next =
      code == FailureCode::kTryAgainLater ? "; see: ocicat status" : "; see: journalctl -u ocicat-agent";
  return {code, std::move(message), error.message + next};
}

Outcome<void> check_ready(const Context& context) {
  const auto why = context.parts.why_not_ready();
  if (why.empty()) return {};
  return refuse(FailureCode::kTryAgainLater, "the agent cannot serve workloads yet",
                why + "; see: ocicat status");
}

kernel::WorkloadPair pair_of(const Attachment& attachment, const std::string& namespace_path) {
  return {.host_name = attachment.host_interface,
          .name = attachment.ifname,
          .namespace_path = namespace_path,
          .mac = attachment.mac,
          .mtu = attachment.mtu};
}

}  // namespace ocicat::cni
