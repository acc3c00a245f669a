#include "cni/service/teardown.h"

#include "cni/endpoint.h"

namespace ocicat::cni {
namespace {

constexpr int kRemovalTries = 5;  // while others change the document

Result<void> remove_endpoint(ipam::Documents& documents, const ResourceKey& endpoint,
                             const std::string& container_id) {
  for (int attempt = 1;; ++attempt) {
    const auto document = documents.get(endpoint);
    if (!document && document.error().code == ErrorCode::kNotFound) return {};
    if (!document) return std::unexpected(document.error());
    if (container_of(*document) != container_id) return {};
    const auto written = endpoint.kind == Kind::kPod ? documents.update(without_addresses(*document))
                                                     : documents.remove(endpoint, revision_of(*document));
    if (written || written.error().code == ErrorCode::kNotFound) return {};
    if (written.error().code != ErrorCode::kConflict || attempt == kRemovalTries)
      return std::unexpected(written.error());
  }
}

Result<void> take_parts_back(const Service::Parts& parts, const Journal& journal, ipam::Documents& documents,
                             const Attachment& attachment) {
  // First what carries traffic; the address last, when nobody has it any more.
  if (!attachment.addresses_alone) {
    if (!journal.has_rival(attachment)) TRY_VOID(parts.links->remove(attachment.host_interface));
    TRY_VOID(remove_endpoint(documents, attachment.endpoint, attachment.container_id));
    // What is known from a call alone may have a Pod's document, as addition.cc gives the first interface of a pod.
    if (attachment.boot.empty() && !attachment.pod.empty() && attachment.ifname == "eth0") {
      const ResourceKey pod{Kind::kPod, attachment.ns, attachment.pod};
      TRY_VOID(remove_endpoint(documents, pod, attachment.container_id));
    }
  }
  TRY_VOID(parts.allocator->release(attachment.handle));
  return {};
}

}  // namespace

Result<void> take_back(const Service::Parts& parts, Journal& journal, ipam::Documents& documents,
                       Attachment attachment) {
  if (const auto done = take_parts_back(parts, journal, documents, attachment); !done) {
    attachment.phase = Attachment::Phase::kDeleting;
    TRY_VOID(journal.write(attachment, true));
    return done;
  }
  return journal.forget(attachment.name());
}

}  // namespace ocicat::cni
