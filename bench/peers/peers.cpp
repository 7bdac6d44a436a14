#include "peers/peers.h"

namespace kindling::bench {

// bench/CMakeLists.txt defines KINDLING_NO_<PEER> with the reason where a peer is not built.
#ifndef KINDLING_NO_OPENBLAS
const Peer& openblas_peer();
#endif
#ifndef KINDLING_NO_ONEDNN
const Peer& onednn_inner_product_peer();
const Peer& onednn_matmul_peer();
#endif
#ifndef KINDLING_NO_EIGEN
const Peer& eigen_peer();
#endif

const std::vector<PeerRow>& peers() {
  static const std::vector<PeerRow> rows{
#ifndef KINDLING_NO_OPENBLAS
      {"openblas", &openblas_peer(), ""},
#else
      {"openblas", nullptr, KINDLING_NO_OPENBLAS},
#endif
#ifndef KINDLING_NO_ONEDNN
      {"onednn", &onednn_inner_product_peer(), ""},
      {"onednn_matmul", &onednn_matmul_peer(), ""},
#else
      {"onednn", nullptr, KINDLING_NO_ONEDNN},
      {"onednn_matmul", nullptr, KINDLING_NO_ONEDNN},
#endif
#ifndef KINDLING_NO_EIGEN
      {"eigen", &eigen_peer(), ""},
#else
      {"eigen", nullptr, KINDLING_NO_EIGEN},
#endif
  };
  return rows;
}

}  // namespace kindling::bench
