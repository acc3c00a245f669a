#include "cni/service/teardown.h"

#include "cni/endpoint.h"

namespace ocicat::cni {
namespace {

constexpr int kRemovalTries = 5;  // while others change the document

Result<void> remove_endpoint(ipam::Documents& documents, const Attachment& attachment) {
  for (int attempt = 1;; ++attempt) {
    const auto document = documents.get(attachment.endpoint);
    if (!document && document.error().code == ErrorCode::kNotFound) return {};
    if (!document) return std::unexpected(document.error());
    if (container_of(*document) != attachment.container_id) return {};
    const auto written = attachment.endpoint.kind == Kind::kPod
                             ? documents.update(without_addresses(*document))
                             : documents.remove(attachment.endpoint, revision_of(*document));
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
    TRY_VOID(remove_endpoint(documents, attachment));
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
