"""The sigbit accelerator: the hardware contract (``arch``) and the Amaranth gateware built on it.

``top`` wires it together. Control: ``csr``, ``control``, ``fetch``, ``decode``, ``sequencer``.
Compute: ``compute`` with ``agu``, ``operands``, ``array`` (``mac``, ``pool``), ``drain``
(``drain_walker``, ``drain_slots``, ``requant``) and its memories, ``buffers``. Data movement:
``load``, ``store``, ``dma``, ``join``, ``axi``. ``emit`` writes Verilog.
"""
