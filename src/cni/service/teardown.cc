#include "cni/service/teardown.h"

#include "cni/endpoint.h"
#include "cni/service/context.h"

namespace ocicat::cni {
namespace {

constexpr int kRemovalTries = 5;  // while others change the document

Result<void> remove_endpoint(ipam::Documents& documents, const ResourceKey& endpoint,
                             const std::string& container) {
  for (int attempt = 1;; ++attempt) {
    const auto document = documents.get(endpoint);
    if (!document && document.error().code == ErrorCode::kNotFound) return {};
    if (!document) return std::unexpected(document.error());
    if (container_of(*document) != container) return {};
    const auto written = endpoint.kind == Kind::kPod ? documents.update(without_addresses(*document))
                                                     : documents.remove(endpoint, revision_of(*document));
    if (written || written.error().code == ErrorCode::kNotFound) return {};
    if (written.error().code != ErrorCode::kConflict || attempt == kRemovalTries)
      return std::unexpected(written.error());
  }
}

// Whether a document says that another container is what it speaks of, which then has the interface that is named after it.
Result<bool> names_another(ipam::Documents& documents, const ResourceKey& endpoint,
                           const std::string& container) {
  const auto document = documents.get(endpoint);
  if (!document && document.error().code == ErrorCode::kNotFound) return false;
  if (!document) return std::unexpected(document.error());
  const auto named = container_of(*document);
  return !named.empty() && named != container;
}

Result<void> take_parts_back(const Service::Parts& parts, const Journal& journal, ipam::Documents& documents,
                             const Attachment& attachment, const std::string& namespace_path) {
  // First what carries traffic; the address last, when nobody has it any more.
  if (!attachment.addresses_alone) {
    std::vector endpoints{attachment.endpoint};
    const auto container = documented_container(attachment.container_id);
    bool has_rival = journal.has_rival(attachment);
    // Of what no note speaks: it may have a Pod's document, and another container of that Pod have come meanwhile.
    if (attachment.boot.empty()) {
      if (!attachment.pod.empty() && attachment.ifname == kFirstInterface)
        endpoints.push_back({Kind::kPod, attachment.ns, attachment.pod});
      for (const auto& endpoint : endpoints) {
        TRY(const bool anothers, names_another(documents, endpoint, container));
        has_rival |= anothers;
      }
    }
    if (!has_rival) TRY_VOID(parts.links->remove(attachment.host_interface));
    if (attachment.default_tables != kernel::DefaultTables{})
      TRY_VOID(parts.links->remove_rules(pair_of(attachment, namespace_path), attachment.addresses));
    for (const auto& endpoint : endpoints) TRY_VOID(remove_endpoint(documents, endpoint, container));
  }
  // Another plugin's are that one's to free, which the plugin asks for when this is done.
  if (attachment.address_plugin.empty()) TRY_VOID(parts.allocator->release(attachment.handle));
  return {};
}

}  // namespace

Result<void> take_back(const Service::Parts& parts, Journal& journal, ipam::Documents& documents,
                       Attachment attachment, const std::string& namespace_path) {
  const auto done = take_parts_back(parts, journal, documents, attachment, namespace_path);
  if (done) return journal.forget(attachment.name());
  const auto noted = journal.write_unwanted(std::move(attachment));
  if (!noted) return fail(noted.error().code, "{}, and {}", done.error().message, noted.error().message);
  return done;
}

}  // namespace ocicat::cni
