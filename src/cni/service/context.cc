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

Outcome<void> check_unlocked(const Context& context) {
  auto why = context.parts.why_locked();
  if (why.empty()) return {};
  return refuse(FailureCode::kTryAgainLater, "nothing is added to this cluster now", std::move(why));
}

bool is_anothers(const Context& context, const Attachment& attachment, const std::string& network) {
  // Notes of an older agent's may name none.
  if (attachment.network.empty() || attachment.network == network) return false;
  if (attachment.phase == Attachment::Phase::kDeleting) return false;
  if (attachment.addresses_alone) return true;
  return !context.journal->has_rival(attachment) &&
         context.parts.links->has(attachment.host_interface).value_or(true);
}

Failure has_another_network(const Attachment& attachment) {
  return {
      FailureCode::kInvalidConfiguration, "the container has this interface by another network",
      fmt::format("{} in container {} is network {}'s: name another interface, or call DEL of that network "
                  "first; see: ocicat get wep -A",
                  attachment.ifname, attachment.container_id, attachment.network)};
}

kernel::WorkloadPair pair_of(const Attachment& attachment, const std::string& namespace_path) {
  return {.host_name = attachment.host_interface,
          .name = attachment.ifname,
          .namespace_path = namespace_path,
          .mac = attachment.mac,
          .mtu = attachment.mtu,
          .destinations = attachment.destinations};
}

}  // namespace ocicat::cni
