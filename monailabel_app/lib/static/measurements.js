// What our server adds to the OHIF viewer. The mends in ohif.py call these functions; see there.
(function () {
  'use strict';

  const COLUMNS = [
    ['volume', 'total', 'Volume', 'mL'],
    ['density', 'mean', 'Density', 'HU'],
    ['nama_share', 'total', 'Normal', '%'],
    ['lama_share', 'total', 'Fatty', '%'],
    ['imat_share', 'total', 'Fat', '%'],
    ['area', 'total', 'Area', 'cm2'],
  ];

  // ---- the box

  const STYLE = `
    #myotome-box { position: fixed; left: 8px; bottom: 8px; z-index: 900; max-width: 560px; max-height: 45vh;
      overflow: auto; color: #fff; background: #090c29ee; border: 1px solid #3a3f99; border-radius: 6px;
      font: 11px/1.4 Inter, system-ui, sans-serif; padding: 6px 10px; }
    #myotome-box summary { display: flex; gap: 12px; align-items: center; font-weight: 600; cursor: pointer; }
    #myotome-box summary span { flex: 1; }
    #myotome-box a { color: #5acce6; }
    #myotome-box button { color: #fff; background: none; border: 0; font-size: 16px; cursor: pointer; }
    #myotome-box table { border-collapse: collapse; margin-top: 4px; }
    #myotome-box th { text-align: right; font-weight: 600; color: #9aa5d6; }
    #myotome-box td { text-align: right; }
    #myotome-box td, #myotome-box th { padding: 0 5px; white-space: nowrap; }
    #myotome-box .name { text-align: left; }
    #myotome-box p { margin: 4px 0; }`;

  function element(tag, text, className) {
    const node = document.createElement(tag);
    if (text !== undefined) {
      node.textContent = text;
    }
    if (className) {
      node.className = className;
    }
    return node;
  }

  function statusLink() {
    const link = element('a', 'Status');
    link.href = '/status';
    link.target = '_blank';
    link.rel = 'noopener';
    return link;
  }

  function header(title) {
    const head = element('summary');
    const close = element('button', '\u00d7');
    close.title = 'Close';
    close.onclick = hide;
    head.append(element('span', title), statusLink(), close);
    return head;
  }

  function hide() {
    document.getElementById('myotome-box')?.remove();
  }

  function show(title, ...content) {
    hide();
    const box = element('details');
    box.id = 'myotome-box';
    box.open = true;
    box.append(element('style', STYLE), header(title), ...content);
    document.body.append(box);
  }

  // ---- measurements and classification

  const isWhole = m => m.slice_index === null || m.slice_index === undefined;

  function title(name) {
    const words = String(name).replaceAll('_', ' ');
    return words.charAt(0).toUpperCase() + words.slice(1);
  }

  function number(value, digits = 1) {
    return typeof value === 'number' ? value.toFixed(digits) : (value ?? '\u2013');
  }

  function row(cells, tag) {
    const line = element('tr');
    cells.forEach((cell, i) => line.append(element(tag, cell, i < 2 ? 'name' : '')));
    return line;
  }

  function find(measurements, measure, statistic) {
    return measurements.find(m => m.measure === measure && (m.statistic ?? statistic) === statistic);
  }

  function place(m) {
    return JSON.stringify([m.structure, m.side ?? '', m.level ?? '']);
  }

  function pivot(measurements) {
    const columns = COLUMNS.filter(([measure, statistic]) => find(measurements, measure, statistic));
    const places = [...new Set(measurements.map(place))];
    const table = element('table');
    table.append(row(['Structure', 'Side', ...columns.map(([, , name, unit]) => `${name} (${unit})`)], 'th'));
    for (const key of places) {
      const [structure, side, level] = JSON.parse(key);
      const here = measurements.filter(m => place(m) === key);
      const values = columns.map(([measure, statistic]) => number(find(here, measure, statistic)?.value));
      table.append(row([title(structure), [side, level].filter(Boolean).join(' '), ...values], 'td'));
    }
    return [table, columns.length > 0];
  }

  function plain(measurements) {
    const table = element('table');
    table.append(row(['Structure', 'Side', 'Measure', 'Value', 'Unit'], 'th'));
    for (const m of measurements) {
      table.append(row([title(m.structure), m.side ?? '', title(m.measure), number(m.value), m.unit ?? ''], 'td'));
    }
    return table;
  }

  function measurementTable(measurements) {
    const [table, known] = pivot(measurements);
    return known ? table : plain(measurements);
  }

  function classificationTable(classes) {
    const pairs = Array.isArray(classes)
      ? classes.map(c => [c.name ?? c.label ?? c.class, c.probability ?? c.score ?? c.value])
      : Object.entries(classes);
    const table = element('table');
    table.append(row(['Class', '', 'Value'], 'th'));
    pairs.forEach(([name, value]) => table.append(row([title(name), '', number(value, 3)], 'td')));
    return table;
  }

  function showResult(model, params) {
    const content = [];
    if (params.measurements?.length) {
      const whole = params.measurements.filter(isWhole);
      content.push(measurementTable(whole.length ? whole : params.measurements));
      content.push(element('p', 'Measured on the draft, before your changes.'));
    }
    if (params.classification) {
      content.push(classificationTable(params.classification));
    }
    for (const flag of params.flags ?? []) {
      content.push(element('p', 'Beware: ' + (flag.message ?? flag.name ?? flag)));
    }
    if (content.length) {
      content.push(element('p', 'For research, not for diagnosis.'));
      show(title(model), ...content);
    }
  }

  // ---- the reply of /infer

  const bytesOf = text => new TextEncoder().encode(text);

  function indexOf(bytes, wanted, from) {
    for (let i = bytes.indexOf(wanted[0], from); i >= 0; i = bytes.indexOf(wanted[0], i + 1)) {
      let same = 1;
      while (same < wanted.length && bytes[i + same] === wanted[same]) {
        same += 1;
      }
      if (same === wanted.length) {
        return i;
      }
    }
    return -1;
  }

  function splitMultipart(buffer, boundary) {
    const bytes = new Uint8Array(buffer);
    const mark = bytesOf('\r\n--' + boundary);
    const parts = {};
    let end = mark.length - 2;
    while (end > 0) {
      const start = indexOf(bytes, bytesOf('\r\n\r\n'), end);
      const next = start < 0 ? -1 : indexOf(bytes, mark, start + 4);
      if (next < 0) {
        break;
      }
      const head = new TextDecoder().decode(bytes.subarray(end, start));
      parts[/name="([^"]*)"/.exec(head)?.[1]] = buffer.slice(start + 4, next);
      end = next + mark.length;
    }
    return parts;
  }

  const fromJson = buffer => JSON.parse(new TextDecoder().decode(buffer));

  function failure(error) {
    try {
      const detail = fromJson(error.response.data).detail;
      return typeof detail === 'string' ? detail : JSON.stringify(detail);
    } catch {
      return error.message ?? 'No reply.';
    }
  }

  function inferReply(response, model) {
    if (response.status !== 200) {
      if (!httpError(response.response?.status)) {
        show(title(model), element('p', 'The model gave no result. ' + failure(response)));
      }
      return response;
    }
    const type = String(response.headers['content-type'] ?? '');
    const boundary = /boundary="?([^";]+)"?/.exec(type)?.[1];
    if (boundary) {
      const parts = splitMultipart(response.data, boundary);
      response.data = parts.image ?? null;
      showResult(model, parts.params ? fromJson(parts.params) : {});
    } else if (type.startsWith('application/json')) {
      showResult(model, fromJson(response.data) ?? {});
      response.data = null;
    }
    return response;
  }

  // ---- saving, connecting, errors

  // What the server said, if it said it the way ours does.
  function reasonOf(error) {
    try {
      return JSON.parse(error.response ?? error.request?.response).detail;
    } catch {
      return error.message || 'the server gave no reason';
    }
  }

  function notSaved(servicesManager, reason) {
    const { uiNotificationService } = servicesManager.services;
    uiNotificationService.show({ title: 'Save', message: `Not saved: ${reason}`, type: 'error', duration: 15000 });
  }

  const wait = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

  // The series of a study's segmentations that the PACS has and this page does not list yet.
  async function newSegmentations(services, dataSource, StudyInstanceUID) {
    const root = dataSource.getConfig().qidoRoot;
    const reply = await fetch(`${root}/studies/${StudyInstanceUID}/series?Modality=SEG`, {
      headers: { accept: 'application/dicom+json' },
    });
    const series = reply.ok && reply.status !== 204 ? await reply.json() : [];
    const uids = series.map(item => item['0020000E'].Value[0]);
    return uids.filter(uid => services.displaySetService.getDisplaySetsForSeries(uid).length === 0);
  }

  async function listSaved(services, dataSource, StudyInstanceUID) {
    for (let tries = 0; tries < 10; tries += 1) {
      const uids = await newSegmentations(services, dataSource, StudyInstanceUID);
      if (uids.length) {
        dataSource.deleteStudyMetadataPromise(`${dataSource.getConfig().name}:${StudyInstanceUID}`);
        const filters = { seriesInstanceUID: uids };
        await dataSource.retrieve.series.metadata({ StudyInstanceUID, filters, madeInClient: true });
        return;
      }
      await wait(1000);
    }
  }

  async function saving(servicesManager, dataSource, report) {
    const { services } = servicesManager;
    try {
      await dataSource.store.dicom(report);
    } catch (error) {
      httpError(error.status ?? error.request?.status);
      notSaved(servicesManager, reasonOf(error));
      throw error;
    }
    const message = 'Segmentation saved';
    services.uiNotificationService.show({ title: 'Save', message, type: 'success', duration: 8000 });
    listSaved(services, dataSource, report.StudyInstanceUID).catch(error => console.warn(error));
  }

  // The masks of a segmentation in the order in which the SEG writer puts their slices: far end of the scan axis first.
  function inFrameOrder(cornerstone, images) {
    const instances = images.map(image => cornerstone.metaData.get('instance', image.referencedImageId));
    const [a, b, c, d, e, f] = instances[0].ImageOrientationPatient.map(Number);
    const axis = [b * f - c * e, c * d - a * f, a * e - b * d];
    const along = position => position.reduce((sum, value, i) => sum + Number(value) * axis[i], 0);
    return images
      .map((image, i) => [along(instances[i].ImagePositionPatient), image])
      .sort((one, other) => other[0] - one[0])
      .map(([, image]) => image);
  }

  // An empty mask is saved, when the reader means it, as one empty slice of its first segment.
  function allowEmpty(labelmaps2D, segmentation) {
    if (labelmaps2D.some(labelmap => labelmap.segmentsOnLabelmap.length)) {
      return;
    }
    const first = Object.values(segmentation.segments).find(Boolean);
    if (first && window.confirm('The mask is empty. Save it as an empty label?')) {
      labelmaps2D[0].segmentsOnLabelmap.push(first.segmentIndex);
    }
  }

  function writing(servicesManager, write) {
    try {
      return write();
    } catch (error) {
      notSaved(servicesManager, error.message);
      throw error;
    }
  }

  function viewportsShowing(services, displaySetInstanceUID) {
    const viewports = [...services.viewportGridService.getState().viewports.values()];
    return viewports.filter(v => v.displaySetInstanceUIDs.includes(displaySetInstanceUID)).map(v => v.viewportId);
  }

  // OHIF lets all segmentations share one colour table, so that the second takes the colours of the first.
  let colourTables = 100;

  function addColours(displaySet) {
    const colours = [];
    for (const segment of displaySet.segMetadata.data) {
      if (segment?.SegmentNumber) {
        colours[Number(segment.SegmentNumber)] = segment.rgba.slice(0, 3).concat(255);
      }
    }
    const table = Array.from(colours, (rgba, i) => (i === 0 ? [0, 0, 0, 0] : (rgba ?? [200, 200, 200, 255])));
    colourTables += 1;
    window.cornerstoneTools.segmentation.config.color.addColorLUT(table, colourTables);
    return colourTables;
  }

  async function loadSaved(services, displaySet) {
    const { segmentationService, uiNotificationService } = services;
    const segmentationId = displaySet.displaySetInstanceUID;
    const type = 'Labelmap';
    try {
      await displaySet.load({ headers: {} });
      const table = addColours(displaySet);
      for (const viewportId of viewportsShowing(services, displaySet.referencedDisplaySetInstanceUID)) {
        await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type });
        window.cornerstoneTools.segmentation.config.color.setColorLUT(viewportId, segmentationId, table);
        segmentationService.setActiveSegmentation(viewportId, segmentationId);
      }
    } catch (error) {
      httpError(error.status ?? error.request?.status);
      uiNotificationService.show({ title: 'Load', message: `Not loaded: ${error.message}`, type: 'error' });
    }
  }

  // Whether this is a saved segmentation of the images on show; if so, starts to load it.
  function loadsSaved(servicesManager, displaySetInstanceUID) {
    const { services } = servicesManager;
    const displaySet = services.displaySetService.getDisplaySetByUID(displaySetInstanceUID);
    const shown = viewportsShowing(services, displaySet?.referencedDisplaySetInstanceUID);
    if (displaySet?.Modality !== 'SEG' || shown.length === 0) {
      return false;
    }
    loadSaved(services, displaySet);
    return true;
  }

  // Makes a segmentation the one that is edited and saved, after a model has drawn it.
  function activate(props, segmentationId) {
    const services = props.servicesManager?.services ?? window.services;
    for (const viewportId of services.viewportGridService.getState().viewports.keys()) {
      const shown = services.segmentationService.getSegmentationRepresentations(viewportId, { segmentationId });
      if (shown.length) {
        services.segmentationService.setActiveSegmentation(viewportId, segmentationId);
      }
    }
  }

  function isReady(panel) {
    try {
      const { viewport, displaySet } = panel.getActiveViewportInfo();
      const { cornerstoneViewportService } = panel.props.servicesManager.services;
      const shown = cornerstoneViewportService.getCornerstoneViewport(viewport.viewportId);
      return displaySet.imageIds.length > 0 && shown.getImageData() !== undefined;
    } catch {
      return false;
    }
  }

  function connectWhenReady(panel, tries = 600) {
    if (!panel.settings.current || tries === 0) {
      return;
    }
    if (isReady(panel)) {
      panel.onInfo(window.location.origin + '/');
    } else {
      setTimeout(() => connectWhenReady(panel, tries - 1), 500);
    }
  }

  // The colour of a segment: a model's `label_colors`, else OHIF's own, made light enough to be seen on a CT.
  function colour(info, label, own) {
    const models = Object.values(info.models ?? {});
    const given = models.map(m => m.label_colors?.[label]).find(Boolean);
    const [r, g, b] = given ?? own;
    const brightest = Math.max(r, g, b, 1);
    const light = brightest < 160 ? 160 / brightest : 1;
    return [r, g, b].map(value => Math.round(value * light)).concat(255);
  }

  function firstStrategy(info) {
    return Object.keys(info.data.strategies ?? {})[0] ?? 'random';
  }

  // Says so if the server no longer knows this browser; returns whether that was it.
  function httpError(status) {
    const signedOut = status === 401;
    if (signedOut) {
      show('Signed out', element('p', 'Open the link that the server printed when it started, then reload this page.'));
    }
    return signedOut;
  }

  // ---- tools of the segmentation panel

  function radius(id, toolNames) {
    const commands = { commandName: 'setBrushSize', commandOptions: { toolNames } };
    return { name: 'Radius (mm)', id, type: 'range', min: 0.5, max: 50, step: 0.5, value: 10, commands };
  }

  function shape(id, tools) {
    const values = Object.entries(tools).map(([label, value]) => ({ label, value }));
    return { name: 'Shape', id, type: 'radio', value: values[0].value, values, commands: 'setToolActiveToolbar' };
  }

  function enabledWith(toolNames) {
    return { name: 'evaluate.cornerstone.segmentation', toolNames, disabledText: 'Run a model or add a segmentation' };
  }

  function brush(id, icon, circle, sphere) {
    const toolNames = [circle, sphere];
    return {
      id,
      icon,
      label: id,
      evaluate: enabledWith(toolNames),
      options: [radius(`${id}-radius`, toolNames), shape(`${id}-shape`, { Circle: circle, Sphere: sphere })],
    };
  }

  const SCISSORS = { Circle: 'CircleScissor', Rectangle: 'RectangleScissor', Sphere: 'SphereScissor' };

  const segmentationButtons = [
    {
      id: 'BrushTools',
      uiType: 'ohif.buttonGroup',
      props: {
        groupId: 'BrushTools',
        items: [
          brush('Brush', 'icon-tool-brush', 'CircularBrush', 'SphereBrush'),
          brush('Eraser', 'icon-tool-eraser', 'CircularEraser', 'SphereEraser'),
          brush('Threshold', 'icon-tool-threshold', 'ThresholdCircularBrush', 'ThresholdSphereBrush'),
        ],
      },
    },
    {
      id: 'Shapes',
      uiType: 'ohif.radioGroup',
      props: {
        label: 'Shapes',
        icon: 'icon-tool-shape',
        evaluate: enabledWith(Object.values(SCISSORS)),
        options: [shape('Shapes-shape', SCISSORS)],
      },
    },
    {
      id: 'SaveSegmentation',
      uiType: 'ohif.radioGroup',
      props: {
        icon: 'icon-upload',
        label: 'Save segmentation',
        commands: 'storeSegmentation',
        evaluate: 'evaluate.action',
      },
    },
  ];

  window.myotome = {
    activate,
    allowEmpty,
    colour,
    connectWhenReady,
    firstStrategy,
    httpError,
    inferReply,
    inFrameOrder,
    loadsSaved,
    saving,
    segmentationButtons,
    writing,
  };
})();
