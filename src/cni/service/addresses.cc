#include "cni/service/addresses.h"

#include <algorithm>
#include <boost/json.hpp>
#include <future>

#include "cni/endpoint.h"
#include "cni/service/teardown.h"
#include "network/ipam_block.h"
#include "resources/ipam.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;

constexpr int kGatewayTries = 20;  // while others take the address

Result<ipam::Assigned> assign(Context& context, ipam::AssignRequest request) {
  // Its own: the answer may come to nobody.
  const auto promise = std::make_shared<std::promise<Result<ipam::Assigned>>>();
  context.parts.allocator->submit(std::move(request), [promise](Result<ipam::Assigned> answer) {
    promise->set_value(std::move(answer));
  });
  return promise->get_future().get();
}

Result<IpamBlock> read_block(ipam::Documents& documents, const Prefix& cidr) {
  TRY(const auto document, documents.get(block_key(cidr)));
  auto stored = decode_block(document);
  if (!stored) return within(block_key(cidr).to_string(), std::move(stored).error());
  return std::move(stored->value);
}

// Those of the block that are under the handle, ascending.
std::vector<IpAddress> addresses_under(const IpamBlock& block, std::string_view handle) {
  std::vector<IpAddress> addresses;
  for (IpamBlock::Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
    const auto* attribute = network::attribute_of(block, ordinal);
    if (attribute != nullptr && attribute->handle == handle)
      addresses.push_back(address_at(block.cidr, ordinal));
  }
  return addresses;
}

// The host's own address in a block, given where there is none yet. Two that come at once may give two: the
// first counts.
Result<IpAddress> gateway_in(Context& context, ipam::Documents& documents, const Prefix& cidr) {
  const auto& node = context.options.node;
  const auto handle = fmt::format("gateway.{}.{}", node, name_of(cidr));
  for (int attempt = 0; attempt < kGatewayTries; ++attempt) {
    TRY(const auto block, read_block(documents, cidr));
    if (const auto known = addresses_under(block, handle); !known.empty()) return known.front();
    if (block.unallocated.empty())
      return fail(ErrorCode::kExhausted, "block {} has no address left for a gateway", cidr.to_string());
    ipam::AssignRequest request{.host = node, .handle = handle};
    request.attributes.emplace("type", network::kGatewayType);
    request.addresses = {address_at(cidr, *std::ranges::min_element(block.unallocated))};
    const auto assigned = assign(context, std::move(request));
    if (!assigned && assigned.error().code != ErrorCode::kAlreadyExists)
      return std::unexpected(assigned.error());
  }
  return fail(ErrorCode::kConflict, "others take the addresses of block {} faster", cidr.to_string());
}

Outcome<void> give(Context& context, ipam::Documents& documents, const Configuration& configuration,
                   Attachment& attachment) {
  const auto known = ask(documents, attachment, configuration);
  if (!known) return std::unexpected(failure_of(known.error(), "the server does not answer"));
  TRY(const auto wishes,
      settle_addresses(configuration, known->pod_annotations, known->namespace_annotations));
  if (const auto noted = context.journal->write_first(attachment); !noted)
    return refuse(FailureCode::kIo, "the attachment cannot be noted", noted.error().message + "; see: df");
  const auto assigned = assign(context, request_of(context, attachment, wishes));
  if (!assigned) return std::unexpected(no_address(context, assigned.error()));
  for (const auto& item : assigned->items) {
    const auto gateway = gateway_in(context, documents, item.block);
    if (!gateway) return std::unexpected(no_address(context, gateway.error()));
    attachment.addresses.push_back(item.address);
    attachment.nets.push_back({item.block.length, *gateway});
  }
  attachment.routes = configuration.routes;
  attachment.phase = Attachment::Phase::kAdded;
  if (const auto noted = context.journal->write(attachment, true); !noted)
    return refuse(FailureCode::kIo, "the attachment cannot be noted", noted.error().message + "; see: df");
  return {};
}

std::unexpected<Failure> not_given(std::string what) {
  return refuse(FailureCode::kNotAsAdded, "the container's addresses are not as ADD left them",
                std::move(what) + "; see: ocicat ipam show");
}

}  // namespace

Result<std::optional<json::object>> if_there(Result<json::object> answer) {
  if (answer) return std::optional(*std::move(answer));
  if (answer.error().code == ErrorCode::kNotFound) return std::nullopt;
  return std::unexpected(std::move(answer).error());
}

Result<Known> ask(ipam::Documents& documents, const Attachment& attachment,
                  const Configuration& configuration) {
  Known known{.pod = {}, .pod_annotations = configuration.annotations, .namespace_annotations = {}};
  if (attachment.pod.empty()) return known;
  auto answers =
      documents.get({{Kind::kPod, attachment.ns, attachment.pod}, {Kind::kNamespace, "", attachment.ns}});
  TRY(known.pod, if_there(std::move(answers[0])));
  TRY(const auto ns, if_there(std::move(answers[1])));
  if (known.pod) known.pod_annotations = annotations_of(*known.pod);
  if (ns) known.namespace_annotations = annotations_of(*ns);
  return known;
}

ipam::AssignRequest request_of(const Context& context, const Attachment& attachment, const Wishes& wishes) {
  ipam::AssignRequest request{.host = context.options.node,
                              .handle = attachment.handle,
                              .attributes = {},
                              .ipv4 = wishes.ipv4 ? 1 : 0,
                              .ipv6 = wishes.ipv6 ? 1 : 0,
                              .pools = wishes.pools,
                              .addresses = wishes.addresses,
                              .ns = attachment.pod.empty() ? std::string() : attachment.ns};
  if (!attachment.pod.empty()) {
    request.attributes.insert_or_assign("pod", attachment.pod);
    request.attributes.insert_or_assign("namespace", attachment.ns);
  }
  return request;
}

Failure no_address(Context& context, const Error& error) {
  if (error.code == ErrorCode::kExhausted) context.ran_out = true;
  auto failure = failure_of(error, "no address was assigned");
  if (error.code == ErrorCode::kExhausted) failure.code = FailureCode::kNoAddress;
  if (error.code == ErrorCode::kAlreadyExists) failure.code = FailureCode::kAddressTaken;
  if (error.code == ErrorCode::kNotFound) failure.code = FailureCode::kInvalidConfiguration;
  const bool says_what_to_run = error.message.contains("(ocicat ");
  if (failure.code != FailureCode::kTryAgainLater)
    failure.details = error.message + (says_what_to_run ? "" : "; see: ocicat ipam show");
  return failure;
}

Outcome<Attachment> add_addresses(Context& context, const Call& call) {
  TRY(const auto configuration, read_configuration(call));
  TRY_VOID(check_unlocked(context));
  auto attachment = attachment_of(call, context.options.node);
  attachment.boot = context.options.boot;
  const Turns::Turn turn(context.turns, attachment.name());
  const auto documents = context.documents.lend();
  if (const auto present = context.journal->find(attachment.name())) {
    if (!present->addresses_alone) {
      return refuse(FailureCode::kInvalidConfiguration, "the container has this interface by another network",
                    fmt::format("{} was added by ocicat-cni itself; call DEL first; see: ocicat get wep -A",
                                attachment.name()));
    }
    if (is_anothers(context, *present, call.network)) return std::unexpected(has_another_network(*present));
    if (present->phase == Attachment::Phase::kAdded) return *present;
    if (const auto done = take_back(context.parts, *context.journal, *documents, *present, {}); !done)
      return std::unexpected(failure_of(done.error(), "what an earlier ADD left cannot be taken back"));
  }
  auto done = give(context, *documents, configuration, attachment);
  if (done) return attachment;
  if (context.journal->find(attachment.name())) {
    const auto undone = take_back(context.parts, *context.journal, *documents, attachment, {});
    if (!undone) done.error().details += "; what was given is taken back later: " + undone.error().message;
  }
  return std::unexpected(done.error());
}

Outcome<void> check_addresses(Context& context, const Call& call) {
  TRY(const auto previous, previous_result(call));
  const Turns::Turn turn(context.turns, call.attachment());
  const auto attachment = context.journal->find(call.attachment());
  if (!attachment || !attachment->addresses_alone || attachment->phase != Attachment::Phase::kAdded ||
      is_anothers(context, *attachment, call.network)) {
    return refuse(FailureCode::kUnknownContainer, "the container has no addresses of ours",
                  fmt::format("ADD of network {} was not called for {} in container {}, or it failed; see: "
                              "ocicat ipam show",
                              call.network, call.ifname, call.container_id));
  }
  const auto documents = context.documents.lend();
  for (std::size_t i = 0; i < attachment->addresses.size(); ++i) {
    const auto& address = attachment->addresses[i];
    if (std::ranges::find(previous.addresses, address) == previous.addresses.end())
      return not_given(fmt::format("prevResult does not have {}", address.to_string()));
    const auto block = read_block(*documents, Prefix{address, attachment->nets[i].length}.masked());
    if (!block && block.error().code != ErrorCode::kNotFound)
      return std::unexpected(failure_of(block.error(), "the server does not answer"));
    const auto given = block ? addresses_under(*block, attachment->handle) : std::vector<IpAddress>();
    if (std::ranges::find(given, address) == given.end())
      return not_given(
          fmt::format("{} is not given to {} any more", address.to_string(), attachment->handle));
  }
  return {};
}

}  // namespace ocicat::cni
